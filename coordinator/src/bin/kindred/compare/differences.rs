//! Where the specs of jobs differ, field by field.

use std::collections::BTreeMap;

use kindred_proto::{job_spec, v1};
use serde_json::Value;

/// A field whose value is not the same in all jobs.
pub struct Difference {
    /// Its path below the spec.
    pub field: String,
    /// Each job's; none where it is not given.
    pub values: Vec<Option<Value>>,
}

/// The fields in which the jobs differ, in alphabetical order; names and labels are left out.
pub fn differences(jobs: &[v1::Job]) -> Vec<Difference> {
    let specs: Vec<BTreeMap<String, Value>> =
        jobs.iter().map(|job| job.spec.as_ref().map(fields).unwrap_or_default()).collect();
    let mut names: Vec<&String> = specs.iter().flat_map(BTreeMap::keys).collect();
    names.sort_unstable();
    names.dedup();
    let of_all = |field: &String| Difference {
        field: field.clone(),
        values: specs.iter().map(|spec| spec.get(field).cloned()).collect(),
    };
    let differs = |difference: &Difference| difference.values.windows(2).any(|pair| pair[0] != pair[1]);
    names.into_iter().map(of_all).filter(differs).collect()
}

/// The spec's values by their paths, as people write them.
fn fields(spec: &v1::JobSpec) -> BTreeMap<String, Value> {
    let spec = v1::JobSpec { name: String::new(), labels: Default::default(), ..spec.clone() };
    let tree = serde_yaml_ng::from_str(&job_spec::to_yaml(&spec))
        .expect("the printer writes YAML with text as keys");
    let mut found = BTreeMap::new();
    flatten("", tree, &mut found);
    found
}

fn flatten(path: &str, tree: Value, found: &mut BTreeMap<String, Value>) {
    match tree {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(&path, value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (idx, item) in items.into_iter().enumerate() {
                flatten(&format!("{path}[{idx}]"), item, found);
            }
        }
        value => {
            found.insert(path.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> v1::Job {
        let spec = job_spec::from_yaml(text, &[]).expect("the text is a job");
        v1::Job { spec: Some(spec), ..Default::default() }
    }

    #[test]
    fn a_field_that_one_job_lacks_differs_too() {
        let jobs = [
            job(
                "name: a\nlabels: {who: me}\nrecipe: {method: {sce: {lambda: 0.5}}, views: [{crop: {size: 28}}, {}]}",
            ),
            job("name: b\nrecipe: {method: {moco_v2: {}}, views: [{crop: {size: 32}}, {}]}"),
        ];
        let found: Vec<_> = differences(&jobs).into_iter().map(|one| (one.field, one.values)).collect();
        let number = |value: f64| Some(Value::from(value));
        let expected = [
            ("recipe.method.moco_v2".to_owned(), vec![None, Some(serde_json::json!({}))]),
            ("recipe.method.sce.lambda".to_owned(), vec![number(0.5), None]),
            ("recipe.views[0].crop.size".to_owned(), vec![Some(Value::from(28)), Some(Value::from(32))]),
        ];
        assert_eq!(found, expected);
    }
}
