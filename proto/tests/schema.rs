//! The JSON Schema of a job's YAML, held against a validator that others wrote.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{fs, path::Path};

use jsonschema::Validator;
use kindred_proto::job_spec;
use serde_json::Value;

fn validator() -> Validator {
    let schema = job_spec::schema();
    jsonschema::meta::validate(&schema).expect("it is a schema");
    jsonschema::draft202012::new(&schema).expect("all of it is understood")
}

fn json_of(yaml: &str) -> Value {
    let mut tree: serde_yaml_ng::Value = serde_yaml_ng::from_str(yaml).expect("good YAML");
    tree.apply_merge().expect("good YAML");
    serde_json::to_value(tree).expect("names are text")
}

fn faults(validator: &Validator, yaml: &str) -> Vec<String> {
    let json = json_of(yaml);
    validator.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn every_published_job_is_valid() {
    let validator = validator();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs");
    let mut n_jobs = 0;
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|end| end == "yaml") {
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(faults(&validator, &text), Vec::<String>::new(), "{}", file.display());
            // As the reader prints it, with every default.
            let printed = job_spec::to_yaml(&job_spec::from_yaml(&text, &[]).unwrap());
            assert_eq!(faults(&validator, &printed), Vec::<String>::new(), "{}", file.display());
            n_jobs += 1;
        }
    }
    assert!(n_jobs > 20, "{n_jobs}");
}

#[test]
fn what_the_reader_refuses_is_no_valid_job() {
    let validator = validator();
    for (bad, part) in [
        ("nmae: first", "nmae"),
        ("name: 3", "/name"),
        ("ranks: two", "/ranks"),
        ("ranks: -1", "/ranks"),
        ("device: gpu", "/device"),
        ("labels: {a: 1}", "/labels/a"),
        ("recipe: {training: {epoch: 3}}", "epoch"),
        ("recipe: {method: {sce: {}, byol: {}}}", "/recipe/method"),
        ("recipe: {views: {crop: {}}}", "/recipe/views"),
    ] {
        job_spec::from_yaml(bad, &[]).expect_err(bad);
        let faults = faults(&validator, bad);
        assert!(faults.iter().any(|fault| fault.contains(part)), "{bad}: {faults:?}");
    }
    for good in ["name: first", "name:", "recipe: {method: {sce: null}}", "ranks: 1e3", "device: cuda"] {
        job_spec::from_yaml(good, &[]).expect(good);
        assert_eq!(faults(&validator, good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn fields_say_what_the_contract_says() {
    let schema = job_spec::schema();
    let queue = &schema["$defs"]["JobSpec"]["properties"]["queue"]["description"];
    assert!(queue.as_str().unwrap().starts_with("One of the coordinator's queues."), "{queue}");
    assert_eq!(
        schema["$defs"]["JobSpec"]["properties"]["device"]["enum"],
        serde_json::json!(["cpu", "cuda", null])
    );
}
