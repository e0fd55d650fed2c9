//! YAML into the JSON tree of a message, with every fault noted by its path.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Number, Value as Json};
use serde_yaml_ng::Value as Yaml;

use super::enums;
use crate::spec_error::Violation;

/// Reads values by their descriptors. What is at fault is noted and left out.
#[derive(Default)]
pub(super) struct Reader {
    pub violations: Vec<Violation>,
}

impl Reader {
    /// A message's fields by their names on the wire. `null` is an empty message.
    pub fn message(&mut self, descriptor: &MessageDescriptor, value: &Yaml, path: &str) -> Map<String, Json> {
        let mut fields = Map::new();
        match value {
            Yaml::Null => {}
            Yaml::Mapping(entries) => {
                for (key, value) in entries {
                    self.entry(descriptor, (key, value), path, &mut fields);
                }
            }
            other => self.refuse(path, "a mapping of fields", other),
        }
        fields
    }

    fn entry(
        &mut self,
        descriptor: &MessageDescriptor,
        (key, value): (&Yaml, &Yaml),
        path: &str,
        fields: &mut Map<String, Json>,
    ) {
        let Some(key) = key.as_str() else { return self.refuse(path, "a mapping with names as keys", key) };
        let Some(field) = self.find(descriptor, key, path) else { return };
        let path = join(path, field.name());
        let Some(read) = self.field(&field, value, &path) else { return };
        if let Some(rival) = rivals(&field).find(|rival| fields.contains_key(rival.name())) {
            self.violate(&path, format!("can not stand beside `{}`: leave one of the two out", rival.name()));
        }
        if fields.insert(field.name().to_owned(), read).is_some() {
            self.violate(&path, "is given twice".to_owned());
        }
    }

    /// The field that people call `key`, as in the `.proto` file or in camel case.
    pub fn find(&mut self, descriptor: &MessageDescriptor, key: &str, path: &str) -> Option<FieldDescriptor> {
        let field = descriptor.get_field_by_name(key).or_else(|| descriptor.get_field_by_json_name(key));
        if field.is_none() {
            let hint = hint(descriptor, key);
            self.violate(&join(path, key), format!("is not a field: {hint}"));
        }
        field
    }

    /// A field's value; `None` for `null`, which stands for "not given", and for what is at fault.
    pub fn field(&mut self, field: &FieldDescriptor, value: &Yaml, path: &str) -> Option<Json> {
        match value {
            Yaml::Null => None,
            Yaml::Mapping(entries) if field.is_map() => {
                let mut read = Map::new();
                for (key, value) in entries {
                    let key = self.text(key, path)?;
                    let value = self.text(value, &join(path, &key))?;
                    read.insert(key, Json::String(value));
                }
                Some(Json::Object(read))
            }
            other if field.is_map() => self.refused(path, "a mapping of names to text", other),
            Yaml::Sequence(items) if field.is_list() => {
                let read =
                    items.iter().enumerate().filter_map(|(idx, item)| self.item(field, item, path, idx));
                Some(Json::Array(read.collect()))
            }
            other if field.is_list() => self.refused(path, "a list", other),
            value => self.single(field, value, path),
        }
    }

    /// One item of a list.
    pub fn item(&mut self, field: &FieldDescriptor, value: &Yaml, path: &str, idx: usize) -> Option<Json> {
        self.single(field, value, &format!("{path}[{idx}]"))
    }

    fn single(&mut self, field: &FieldDescriptor, value: &Yaml, path: &str) -> Option<Json> {
        match field.kind() {
            Kind::Message(inner) => Some(Json::Object(self.message(&inner, value, path))),
            Kind::Enum(inner) => match value.as_str().and_then(|given| enums::full_name(&inner, given)) {
                Some(full) => Some(Json::String(full)),
                None => self.refused(path, &format!("one of {}", enums::choices(&inner)), value),
            },
            Kind::Int32 => match value.as_i64().and_then(|given| i32::try_from(given).ok()) {
                Some(number) => Some(Json::Number(number.into())),
                None => self.refused(path, "a whole number, which may be negative", value),
            },
            Kind::Uint32 => self.whole(value, u32::MAX.into(), path),
            Kind::Uint64 => self.whole(value, u64::MAX, path),
            Kind::Double => match value.as_f64().and_then(Number::from_f64) {
                Some(number) => Some(Json::Number(number)),
                None => self.refused(path, "a finite number", value),
            },
            Kind::Bool => match value {
                Yaml::Bool(value) => Some(Json::Bool(*value)),
                other => self.refused(path, "true or false", other),
            },
            _ => self.text(value, path).map(Json::String),
        }
    }

    fn whole(&mut self, value: &Yaml, most: u64, path: &str) -> Option<Json> {
        match whole_number(value).filter(|&number| number <= most) {
            Some(number) => Some(Json::Number(number.into())),
            None => self.refused(path, &format!("a whole number from 0 to {most}"), value),
        }
    }

    fn text(&mut self, value: &Yaml, path: &str) -> Option<String> {
        match value {
            Yaml::String(text) => Some(text.clone()),
            other => self.refused(path, "text (in quotes where it looks like something else)", other),
        }
    }

    /// Notes that `path` must change.
    pub fn violate(&mut self, path: &str, message: String) {
        self.violations.push(Violation::new(path, message));
    }

    fn refuse(&mut self, path: &str, wanted: &str, value: &Yaml) {
        self.violate(path, format!("must be {wanted}, not {}", shown(value)));
    }

    fn refused<T>(&mut self, path: &str, wanted: &str, value: &Yaml) -> Option<T> {
        self.refuse(path, wanted, value);
        None
    }
}

/// The other fields of the choice of one that `field` belongs to.
pub(super) fn rivals(field: &FieldDescriptor) -> impl Iterator<Item = FieldDescriptor> {
    let number = field.number();
    let members: Vec<_> =
        field.containing_oneof().iter().flat_map(|oneof| oneof.fields().collect::<Vec<_>>()).collect();
    members.into_iter().filter(move |member| member.number() != number)
}

/// `path.key`, or `key` at the root.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Also takes `1e6`, which YAML reads as a float.
fn whole_number(value: &Yaml) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let from_float =
        |float: f64| (float.fract() == 0.0 && (0.0..=EXACT).contains(&float)).then_some(float as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(from_float))
}

fn hint(descriptor: &MessageDescriptor, key: &str) -> String {
    let names: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    let nearest = names.iter().min_by_key(|name| strsim::damerau_levenshtein(name, key));
    match nearest.filter(|name| strsim::damerau_levenshtein(name, key) <= name.len().div_ceil(3)) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "nothing can be given here".to_owned(),
        None => format!("there are {}", names.join(", ")),
    }
}

/// At most one line of what was given.
fn shown(value: &Yaml) -> String {
    match value {
        Yaml::Null => "nothing".to_owned(),
        Yaml::Bool(value) => value.to_string(),
        Yaml::Number(number) => number.to_string(),
        Yaml::String(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
        Yaml::Sequence(_) => "a list".to_owned(),
        Yaml::Mapping(_) => "a mapping".to_owned(),
        Yaml::Tagged(tagged) => format!("a value with the tag {}", tagged.tag),
    }
}
