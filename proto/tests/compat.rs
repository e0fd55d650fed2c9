//! Published names, numbers and types of `kindred.v1` never change or vanish; `v1.lock` lists them.
//!
//! After an addition, write it into the lock with
//! `KINDRED_BLESS=1 cargo test -p kindred-proto --test compat`, and commit both together.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{collections::BTreeSet, env, fs, path::Path};

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

const BLESS: &str = "KINDRED_BLESS=1 cargo test -p kindred-proto --test compat";

#[test]
fn what_is_published_stays() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("v1.lock");
    let locked: BTreeSet<_> =
        fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    let current = contract();

    let gone: Vec<_> = locked.difference(&current).collect();
    assert!(gone.is_empty(), "published, and changed or gone: {gone:#?}\nadd another field or value instead");
    let added: Vec<_> = current.difference(&locked).collect();
    if env::var_os("KINDRED_BLESS").is_some() {
        let lines: Vec<_> = current.iter().map(String::as_str).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        return;
    }
    assert!(added.is_empty(), "not in v1.lock yet: {added:#?}\nwrite it with `{BLESS}`");
}

/// One line per message, field, enum, value and method of the package.
fn contract() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(kindred_proto::DESCRIPTORS).unwrap();
    let mut lines = BTreeSet::new();
    for message in pool.all_messages().filter(|message| message.package_name() == "kindred.v1") {
        lines.insert(format!("message {}", message.full_name()));
        // Entries of maps are named by the compiler and show in the type of the field.
        if !message.is_map_entry() {
            lines.extend(message.fields().map(|field| field_line(&message, &field)));
        }
    }
    for each in pool.all_enums().filter(|each| each.package_name() == "kindred.v1") {
        lines.insert(format!("enum {}", each.full_name()));
        lines.extend(value_lines(&each));
    }
    for service in pool.services() {
        lines.insert(format!("service {}", service.full_name()));
        lines.extend(service.methods().map(|method| method_line(&method)));
    }
    lines
}

fn field_line(message: &MessageDescriptor, field: &FieldDescriptor) -> String {
    let label = match field.cardinality() {
        _ if field.is_map() => "map",
        Cardinality::Repeated => "repeated",
        _ if field.field_descriptor_proto().proto3_optional() => "optional",
        _ => "singular",
    };
    let choice = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let choice = choice.map(|oneof| format!(" oneof {}", oneof.name())).unwrap_or_default();
    let (number, name) = (field.number(), field.name());
    format!("field {} {number} {name} {label} {}{choice}", message.full_name(), type_of(field))
}

fn type_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            format!("{}→{}", type_of(&key), type_of(&value))
        }
        Kind::Message(inner) => inner.full_name().to_owned(),
        Kind::Enum(inner) => inner.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn value_lines(of: &EnumDescriptor) -> Vec<String> {
    of.values().map(|value| format!("value {} {} {}", of.full_name(), value.number(), value.name())).collect()
}

fn method_line(method: &MethodDescriptor) -> String {
    let streamed = |is_streamed, message: MessageDescriptor| {
        format!("{}{}", if is_streamed { "stream " } else { "" }, message.full_name())
    };
    let request = streamed(method.is_client_streaming(), method.input());
    let response = streamed(method.is_server_streaming(), method.output());
    format!("rpc {} ({request}) ({response})", method.full_name())
}
