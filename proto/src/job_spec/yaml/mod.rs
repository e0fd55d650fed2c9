//! Job specs as YAML: protobuf's JSON mapping, stricter in what it takes and kinder in what it says.
//!
//! Unknown keys are refused by their full path, with the nearest name that exists. Enums may be written short
//! (`stem: cifar`). All faults of a file are listed at once.

use prost_reflect::DynamicMessage;
use serde_yaml_ng::Value as Yaml;

use crate::{
    json,
    spec_error::{SpecError, Violation},
    v1,
};

mod enums;
mod read;
mod schema;
mod set;

pub use schema::schema;

use read::Reader;

const JOB_SPEC: &str = "kindred.v1.JobSpec";

/// Reads a job spec and lays overrides like `recipe.training.epochs=3` or `recipe.views[0].crop.size=28` over it.
///
/// An override's value is YAML; messages on its path are created, and in a choice of one it replaces the other.
///
/// ```
/// use kindred_proto::job_spec;
/// let text = "name: first\nrecipe:\n  data: {fashion_mnist: {}}\n  method: {sce: {}}\n";
/// let wire = job_spec::from_yaml(text, &["recipe.training.epochs=3".into()])?;
/// assert_eq!(job_spec::JobSpec::check(&wire)?.recipe.training.epochs, 3);
///
/// let error = job_spec::from_yaml("nmae: first", &[]).unwrap_err();
/// assert_eq!(error.to_string(), "nmae: is not a field: did you mean `name`?");
/// # Ok::<_, job_spec::SpecError>(())
/// ```
///
/// # Errors
/// The text is not YAML, or holds what a job spec does not; bounds are [`JobSpec::check`]'s.
///
/// [`JobSpec::check`]: super::JobSpec::check
pub fn from_yaml(text: &str, overrides: &[String]) -> Result<v1::JobSpec, SpecError> {
    let mut reader = Reader::default();
    let descriptor = json::descriptor(JOB_SPEC);
    let mut tree = reader.message(&descriptor, &parse(text)?, "");
    for text in overrides {
        set::set(&mut reader, &descriptor, &mut tree, text);
    }
    if !reader.violations.is_empty() {
        return Err(SpecError { violations: reader.violations });
    }
    DynamicMessage::deserialize(descriptor, serde_json::Value::Object(tree))
        .map_err(|error| Violation::new("", error.to_string()))
        .map(|message| message.transcode_to().expect("the descriptor is that of v1::JobSpec"))
        .map_err(SpecError::from)
}

/// The spec as YAML that [`from_yaml`] reads, enums short, fields in the order of the contract.
pub fn to_yaml(spec: &v1::JobSpec) -> String {
    let descriptor = json::descriptor(JOB_SPEC);
    let mut tree = json::dynamic(spec, JOB_SPEC)
        .serialize_with_options(serde_yaml_ng::value::Serializer, &json::options())
        .expect("a message has only values that YAML can hold");
    enums::shorten(&descriptor, &mut tree);
    serde_yaml_ng::to_string(&tree).expect("keys and values are plain")
}

fn parse(text: &str) -> Result<Yaml, SpecError> {
    let refuse = |error: serde_yaml_ng::Error| Violation::new("", format!("is not good YAML: {error}"));
    let mut tree: Yaml = serde_yaml_ng::from_str(text).map_err(refuse)?;
    tree.apply_merge().map_err(refuse)?;
    Ok(tree)
}
