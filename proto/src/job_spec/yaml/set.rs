//! Overrides from the command line: `path=value`.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json};
use serde_yaml_ng::Value as Yaml;

use super::read::{Reader, join, rivals};

/// Lays one override over `tree`; what is wrong with it is noted in `reader`.
pub(super) fn set(
    reader: &mut Reader,
    descriptor: &MessageDescriptor,
    tree: &mut Map<String, Json>,
    text: &str,
) {
    let Some((path, value)) = text.split_once('=') else {
        return reader.violate(text, "is not an override: write it as path=value".to_owned());
    };
    match serde_yaml_ng::from_str(value) {
        Ok(value) => Override { reader, value }.message(descriptor, tree, path.trim(), ""),
        Err(error) => reader.violate(path, format!("is not given good YAML: {error}")),
    }
}

struct Override<'a> {
    reader: &'a mut Reader,
    value: Yaml,
}

impl Override<'_> {
    /// Sets what `rest` names below a message; `done` is the path to that message.
    fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        tree: &mut Map<String, Json>,
        rest: &str,
        done: &str,
    ) {
        let (key, rest) = rest.split_once('.').map_or((rest, None), |(key, rest)| (key, Some(rest)));
        let (name, idx) = split_index(key);
        let Some(field) = self.reader.find(descriptor, name, done) else { return };
        for rival in rivals(&field) {
            tree.remove(rival.name());
        }
        let path = join(done, field.name());
        let slot = tree.entry(field.name()).or_insert(Json::Null);
        match idx {
            None => self.field(&field, slot, rest, &path),
            Some(idx) => self.item(&field, slot, (idx, rest), &path),
        }
        if slot.is_null() {
            tree.remove(field.name());
        }
    }

    fn field(&mut self, field: &FieldDescriptor, slot: &mut Json, rest: Option<&str>, path: &str) {
        match (rest, field.kind()) {
            (None, _) => *slot = self.reader.field(field, &self.value, path).unwrap_or(Json::Null),
            (Some(key), _) if field.is_map() => self.map_entry(slot, key, path),
            (Some(rest), Kind::Message(inner)) if !field.is_list() => {
                self.message(&inner, object(slot), rest, path);
            }
            (Some(rest), _) if field.is_list() => {
                self.reader.violate(path, format!("is a list: name an item, as in `{path}[0].{rest}`"));
            }
            (Some(rest), _) => {
                self.reader.violate(&join(path, rest), format!("is not a field: `{path}` is a value"))
            }
        }
    }

    fn item(
        &mut self,
        field: &FieldDescriptor,
        slot: &mut Json,
        (idx, rest): (usize, Option<&str>),
        path: &str,
    ) {
        let n_items = slot.as_array().map_or(0, Vec::len);
        let Some(item) = slot.get_mut(idx) else {
            return self
                .reader
                .violate(&format!("{path}[{idx}]"), format!("is not there: {n_items} are given"));
        };
        match (rest, field.kind()) {
            (Some(rest), Kind::Message(inner)) => {
                self.message(&inner, object(item), rest, &format!("{path}[{idx}]"));
            }
            (Some(rest), _) => {
                self.reader.violate(&join(path, rest), format!("is not a field: `{path}[{idx}]` is a value"));
            }
            (None, _) => {
                if let Some(read) = self.reader.item(field, &self.value, path, idx) {
                    *item = read;
                }
            }
        }
    }

    fn map_entry(&mut self, slot: &mut Json, key: &str, path: &str) {
        match &self.value {
            Yaml::String(text) => {
                object(slot).insert(key.to_owned(), Json::String(text.clone()));
            }
            // A label's value is text, whatever it looks like on a command line.
            Yaml::Bool(_) | Yaml::Number(_) => {
                let text = serde_yaml_ng::to_string(&self.value).expect("scalars are plain");
                object(slot).insert(key.to_owned(), Json::String(text.trim_end().to_owned()));
            }
            _ => self.reader.violate(&join(path, key), "must be text".to_owned()),
        }
    }
}

fn object(slot: &mut Json) -> &mut Map<String, Json> {
    if !slot.is_object() {
        *slot = Json::Object(Map::new());
    }
    slot.as_object_mut().expect("made one above")
}

/// `views[1]` is item 1 of `views`.
fn split_index(key: &str) -> (&str, Option<usize>) {
    let index = key.strip_suffix(']').and_then(|key| key.split_once('['));
    match index.and_then(|(name, idx)| Some((name, idx.parse().ok()?))) {
        Some((name, idx)) => (name, Some(idx)),
        None => (key, None),
    }
}
