//! Short names of enum values: `STEM_CIFAR` of `Stem` is `cifar`.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_yaml_ng::{Mapping, Value as Yaml};

/// The full name of the value that people write as `given`, short or full, in any case.
pub(super) fn full_name(of: &EnumDescriptor, given: &str) -> Option<String> {
    let is_given =
        |full: &str| full.eq_ignore_ascii_case(given) || short_name(of, full).eq_ignore_ascii_case(given);
    of.values().map(|value| value.name().to_owned()).find(|full| is_given(full))
}

/// What people may write, but for the value that means nothing was written.
pub(super) fn choices(of: &EnumDescriptor) -> String {
    short_names(of).collect::<Vec<_>>().join(", ")
}

/// The same, one by one.
pub(super) fn short_names(of: &EnumDescriptor) -> impl Iterator<Item = String> {
    of.values().filter(|value| value.number() != 0).map(|value| short_name(of, value.name()))
}

/// Writes every enum value in the tree short, and sorts what has no order.
pub(super) fn shorten(descriptor: &MessageDescriptor, tree: &mut Yaml) {
    for field in descriptor.fields() {
        let Some(value) = tree.get_mut(field.name()) else { continue };
        match value {
            Yaml::Sequence(items) => items.iter_mut().for_each(|item| shorten_field(&field, item)),
            value => shorten_field(&field, value),
        }
    }
}

fn shorten_field(field: &FieldDescriptor, value: &mut Yaml) {
    match (field.kind(), value) {
        (_, Yaml::Mapping(entries)) if field.is_map() => sort(entries),
        (Kind::Message(inner), value) => shorten(&inner, value),
        (Kind::Enum(inner), Yaml::String(name)) => *name = short_name(&inner, name),
        _ => {}
    }
}

fn sort(entries: &mut Mapping) {
    let mut sorted: Vec<_> = std::mem::take(entries).into_iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.as_str().cmp(&other.as_str()));
    entries.extend(sorted);
}

fn short_name(of: &EnumDescriptor, full: &str) -> String {
    // The value for "nothing was given" is called PREFIX_UNSPECIFIED, by a rule of the contract's style.
    let unspecified = of.default_value();
    let prefix = unspecified.name().strip_suffix("UNSPECIFIED").unwrap_or_default();
    full.strip_prefix(prefix).unwrap_or(full).to_lowercase()
}
