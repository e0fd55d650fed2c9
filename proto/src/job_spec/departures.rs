//! Where a job departs from the defaults of its method, encoder and data.
//!
//! Each value is left out in turn, and the spec is checked anew: what then stands in its place is its default, all the rest being as
//! it is. So there is no second table of defaults that could differ from the first.

use serde_json::Value;

use super::{AnySpec, from_yaml, to_yaml};
use crate::v1;

/// A value that is not what leaving it out would give.
#[derive(Clone, Debug, PartialEq)]
pub struct Departure {
    /// Its path in the spec: `recipe.method.sce.lambda`.
    pub field: String,
    /// What the job says.
    pub value: Value,
    /// What it would have been; none where there is nothing then, or it cannot be left out.
    pub default: Option<Value>,
}

/// Fields that say whose job it is, not what it does.
const NAMES: [&str; 3] = ["name", "labels", "project"];

/// All departures of a spec, by name; none of one that is not valid.
///
/// ```
/// use kindred_proto::job_spec::{AnySpec, departures, from_yaml};
/// let text = "name: a\nrecipe: {data: {fashion_mnist: {}}, method: {sce: {lambda: 0.4}}}\n";
/// let spec = AnySpec::check(&from_yaml(text, &[])?)?.to_wire();
/// let found = departures(&spec);
/// assert_eq!(found.len(), 1, "{found:?}");
/// assert_eq!(found[0].field, "recipe.method.sce.lambda");
/// # Ok::<_, kindred_proto::job_spec::SpecError>(())
/// ```
pub fn departures(spec: &v1::JobSpec) -> Vec<Departure> {
    let Some(whole) = complete(spec) else { return vec![] };
    let mut leaves = vec![];
    collect(&mut vec![], &whole, &mut leaves);
    let mut found = vec![];
    for path in leaves {
        if NAMES.contains(&path[0].as_str()) {
            continue;
        }
        let value = at(&whole, &path).cloned().unwrap_or_default();
        let default = default_of(&whole, &path);
        if default.as_ref() != Some(&value) {
            found.push(Departure { field: path.join("."), value, default });
        }
    }
    found
}

/// The spec with every default, as people write it.
fn complete(spec: &v1::JobSpec) -> Option<Value> {
    let complete = AnySpec::check(spec).ok()?.to_wire();
    serde_yaml_ng::from_str(&to_yaml(&complete)).ok()
}

/// What the spec has there once it is left out.
fn default_of(whole: &Value, path: &[String]) -> Option<Value> {
    let mut without = whole.clone();
    let (last, parents) = path.split_last()?;
    let parent = parents.iter().try_fold(&mut without, |tree, key| tree.get_mut(key))?;
    parent.as_object_mut()?.remove(last)?;
    // JSON is YAML.
    let spec = from_yaml(&without.to_string(), &[]).ok()?;
    at(&complete(&spec)?, path).cloned()
}

fn at<'a>(tree: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |tree, key| tree.get(key))
}

/// The paths of all values; a list is one.
fn collect(path: &mut Vec<String>, tree: &Value, leaves: &mut Vec<Vec<String>>) {
    match tree.as_object() {
        Some(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                path.push(key.clone());
                collect(path, value, leaves);
                path.pop();
            }
        }
        // A message without fields is a choice: there is nothing in it to depart from.
        Some(_) => {}
        None => leaves.push(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(String, Option<Value>)> {
        let spec = from_yaml(text, &[]).expect("it can be read");
        let spec = AnySpec::check(&spec).expect("it is valid").to_wire();
        departures(&spec).into_iter().map(|departure| (departure.field, departure.default)).collect()
    }

    #[test]
    fn a_job_of_defaults_has_no_departures() {
        assert_eq!(fields("name: a\nrecipe: {data: {fashion_mnist: {}}, method: {sce: {}}}"), []);
    }

    #[test]
    fn a_departure_names_the_default() {
        let found = fields(
            "name: a\nlabels: {team: vision}\npriority: 3\nrecipe: {data: {fashion_mnist: {}}, method: {sce: {}}, \
             training: {epochs: 7}}",
        );
        let names: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(names, ["priority", "recipe.training.epochs"]);
        assert_eq!(found[0].1, Some(Value::from(0)));
    }

    #[test]
    fn a_value_that_is_written_out_is_no_departure() {
        assert_eq!(
            fields("name: a\npriority: 0\nrecipe: {data: {fashion_mnist: {}}, method: {sce: {}}}"),
            [],
            "it is what leaving it out gives"
        );
    }
}
