//! A job's YAML as a JSON Schema, from the same descriptors that the reader goes by.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::{JOB_SPEC, enums};
use crate::json;

/// The JSON Schema (2020-12) of a job's YAML, for editors: names, kinds and choices, with the comments of the contract. Bounds
/// are not in it: `kindred submit --dry-run` checks them.
///
/// Names are those of the contract only, and choices the short ones; the reader also takes others.
pub fn schema() -> Json {
    let root = json::descriptor(JOB_SPEC);
    let mut definitions = Map::new();
    let mut waiting = vec![root.clone()];
    let mut seen = BTreeSet::from([root.full_name().to_owned()]);
    let mut comments = Comments::default();
    while let Some(message) = waiting.pop() {
        definitions.insert(name(&message).to_owned(), definition(&message, &mut comments));
        let fields = message.fields().filter(|field| !field.is_map());
        let inner: Vec<_> = fields.filter_map(|field| field.kind().as_message().cloned()).collect();
        waiting.extend(inner.into_iter().filter(|inner| seen.insert(inner.full_name().to_owned())));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A job of Kindred",
        "$ref": format!("#/$defs/{}", name(&root)),
        "$defs": definitions,
    })
}

/// Its name in the package.
fn name(message: &MessageDescriptor) -> &str {
    message.full_name().strip_prefix("kindred.v1.").unwrap_or(message.full_name())
}

/// A message, where nothing at all is an empty one.
fn definition(message: &MessageDescriptor, comments: &mut Comments) -> Json {
    let properties: Map<String, Json> = message
        .fields()
        .map(|field| {
            let comment = comments.of(&field.parent_file(), field.path());
            (field.name().to_owned(), described(property(&field), comment))
        })
        .collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!(["object", "null"]));
    schema.insert("properties".to_owned(), properties.into());
    schema.insert("additionalProperties".to_owned(), false.into());
    let choices = choices(message);
    if !choices.is_empty() {
        schema.insert("allOf".to_owned(), choices.into());
    }
    described(schema.into(), comments.of(&message.parent_file(), message.path()))
}

fn described(mut schema: Json, comment: Option<String>) -> Json {
    if let (Some(schema), Some(comment)) = (schema.as_object_mut(), comment) {
        schema.insert("description".to_owned(), comment.into());
    }
    schema
}

/// Of a choice of one no two are given.
fn choices(message: &MessageDescriptor) -> Vec<Json> {
    let mut choices = vec![];
    for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
        let names: Vec<String> = choice.fields().map(|field| field.name().to_owned()).collect();
        if names.len() == message.fields().len() {
            choices.push(json!({ "maxProperties": 1 }));
            continue;
        }
        for (place, name) in names.iter().enumerate() {
            let pair = |other: &String| json!({ "not": { "required": [name, other] } });
            choices.extend(names[place + 1..].iter().map(pair));
        }
    }
    choices
}

/// A field; nothing at all stands for "not given".
fn property(field: &FieldDescriptor) -> Json {
    if field.is_map() {
        return json!({ "type": ["object", "null"], "additionalProperties": { "type": "string" } });
    }
    if field.is_list() {
        return json!({ "type": ["array", "null"], "items": single(field) });
    }
    single(field)
}

fn single(field: &FieldDescriptor) -> Json {
    match field.kind() {
        Kind::Message(inner) => json!({ "$ref": format!("#/$defs/{}", name(&inner)) }),
        Kind::Enum(of) => json!({ "enum": names(&of) }),
        Kind::Int32 => json!({ "type": ["integer", "null"], "minimum": i32::MIN, "maximum": i32::MAX }),
        Kind::Uint32 => json!({ "type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX }),
        Kind::Uint64 => json!({ "type": ["integer", "null"], "minimum": 0 }),
        Kind::Double => json!({ "type": ["number", "null"] }),
        Kind::Bool => json!({ "type": ["boolean", "null"] }),
        _ => json!({ "type": ["string", "null"] }),
    }
}

fn names(of: &EnumDescriptor) -> Vec<Json> {
    enums::short_names(of).map(Json::from).chain([Json::Null]).collect()
}

/// The comments before messages and fields, by file.
#[derive(Default)]
struct Comments(BTreeMap<String, BTreeMap<Vec<i32>, String>>);

impl Comments {
    fn of(&mut self, file: &FileDescriptor, path: &[i32]) -> Option<String> {
        let read = || {
            let info = file.file_descriptor_proto().source_code_info.iter();
            let locations = info.flat_map(|info| &info.location);
            let comment =
                |it: &str| it.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned();
            locations
                .filter_map(|it| Some((it.path.clone(), comment(it.leading_comments.as_deref()?))))
                .collect()
        };
        self.0.entry(file.name().to_owned()).or_insert_with(read).get(path).cloned()
    }
}
