//! What users may write in a job file and in `--set`, and what they are told otherwise.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use kindred_proto::{
    job_spec::{from_yaml, to_yaml},
    v1,
};

fn read(text: &str, overrides: &[&str]) -> v1::JobSpec {
    let overrides: Vec<_> = overrides.iter().map(|&text| text.to_owned()).collect();
    from_yaml(text, &overrides).unwrap()
}

fn refusal(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<_> = overrides.iter().map(|&text| text.to_owned()).collect();
    from_yaml(text, &overrides).unwrap_err().to_string()
}

fn training(text: &str) -> v1::Training {
    read("", &[&format!("recipe.training={text}")]).recipe.unwrap().training.unwrap()
}

#[test]
fn an_unknown_key_is_named_with_its_path_and_the_nearest_name() {
    let cases = [
        ("recipe: {training: {epoch: 3}}", "recipe.training.epoch: is not a field: did you mean `epochs`?"),
        (
            "recipe: {views: [{}, {crop: {sise: 3}}]}",
            "recipe.views[1].crop.sise: is not a field: did you mean `size`?",
        ),
        (
            "retry: {forever: 1}",
            "retry.forever: is not a field: there are user_failures, infrastructure_failures, no_progress",
        ),
        (
            "recipe: {schedule: {constant: {a: 1}}}",
            "recipe.schedule.constant.a: is not a field: nothing can be given here",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text, &[]), expected);
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_what_it_should_be() {
    let cases = [
        ("- a", "must be a mapping of fields, not a list"),
        ("1: 2", "must be a mapping with names as keys, not 1"),
        ("name: 7", "name: must be text (in quotes where it looks like something else), not 7"),
        ("ranks: -1", "ranks: must be a whole number from 0 to 4294967295, not -1"),
        ("ranks: 1.5", "ranks: must be a whole number from 0 to 4294967295, not 1.5"),
        ("ranks: two", r#"ranks: must be a whole number from 0 to 4294967295, not "two""#),
        ("device: gpu", r#"device: must be one of cpu, cuda, not "gpu""#),
        ("labels: [a]", "labels: must be a mapping of names to text, not a list"),
        ("recipe: {views: 2}", "recipe.views: must be a list, not 2"),
        ("recipe: {data: {mean: [.nan]}}", "recipe.data.mean[0]: must be a finite number, not .nan"),
        (
            "recipe: {training: {channels_last: 1}}",
            "recipe.training.channels_last: must be true or false, not 1",
        ),
        (
            "name: !date a",
            "name: must be text (in quotes where it looks like something else), not a value with the tag !date",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text, &[]), expected);
    }
}

#[test]
fn nothing_is_given_twice() {
    assert!(refusal("name: a\nname: b", &[]).contains("duplicate entry with key \"name\""));
    assert_eq!(
        refusal("recipe: {training: {global_batch: 2, globalBatch: 4}}", &[]),
        "recipe.training.global_batch: is given twice"
    );
    assert_eq!(
        refusal("recipe: {method: {sce: {}, moco_v2: {}}}", &[]),
        "recipe.method.moco_v2: can not stand beside `sce`: leave one of the two out"
    );
}

#[test]
fn broken_yaml_is_named_with_its_line() {
    let error = refusal("name: a\nrecipe: [", &[]);
    assert!(error.starts_with("is not good YAML: ") && error.contains("line"), "{error}");
}

#[test]
fn enums_may_be_short_or_full() {
    for text in ["cuda", "CUDA", "DEVICE_KIND_CUDA"] {
        assert_eq!(read(&format!("device: {text}"), &[]).device(), v1::DeviceKind::Cuda);
    }
    assert_eq!(training("{precision: bf16}").precision(), v1::training::Precision::Bf16);
}

#[test]
fn numbers_may_be_scientific() {
    assert_eq!(training("{epochs: 1e3}").epochs, Some(1000));
    assert_eq!(training("{seed: 18446744073709551615}").seed, Some(u64::MAX));
    let spec = read("recipe: {optimizer: {sgd: {lr: 3e-2, weight_decay: 1E-6}}}", &[]);
    let Some(v1::optimizer::Kind::Sgd(sgd)) = spec.recipe.unwrap().optimizer.unwrap().kind else {
        panic!("gave SGD")
    };
    assert_eq!((sgd.lr, sgd.weight_decay), (Some(0.03), Some(1e-6)));
}

#[test]
fn anchors_and_merges_work() {
    let text =
        "recipe:\n  views:\n  - &view {crop: {size: 28}}\n  - {<<: *view, grayscale_probability: 0.2}\n";
    let views = read(text, &[]).recipe.unwrap().views;
    assert_eq!(views[1].crop, views[0].crop);
}

#[test]
fn an_override_creates_its_path_and_reaches_into_lists() {
    let text = "recipe: {views: [{}, {crop: {size: 28}}]}";
    let spec =
        read(text, &["recipe.views[1].crop.size=32", "recipe.training.seed=7", "labels.team=2", "name=b"]);
    assert_eq!(spec.name, "b");
    assert_eq!(spec.labels["team"], "2");
    let recipe = spec.recipe.unwrap();
    assert_eq!(recipe.views[1].crop.unwrap().size, Some(32));
    assert_eq!(recipe.training.unwrap().seed, Some(7));
}

#[test]
fn an_override_replaces_the_other_of_a_choice() {
    let spec = read("recipe: {method: {moco_v2: {queue_size: 5}}}", &["recipe.method.sce.lambda=0.25"]);
    let Some(v1::method::Kind::Sce(sce)) = spec.recipe.unwrap().method.unwrap().kind else {
        panic!("set SCE")
    };
    assert_eq!((sce.lambda, sce.queue_size), (Some(0.25), None));
}

#[test]
fn an_override_with_null_takes_a_value_back() {
    let spec = read("recipe: {data: {limit: 5}}", &["recipe.data.limit=null"]);
    assert_eq!(spec.recipe.unwrap().data.unwrap().limit, None);
}

#[test]
fn a_bad_override_is_named() {
    let cases = [
        ("ranks", "ranks: is not an override: write it as path=value"),
        ("rank=1", "rank: is not a field: did you mean `ranks`?"),
        ("ranks.a=1", "ranks.a: is not a field: `ranks` is a value"),
        ("recipe.views.crop=1", "recipe.views: is a list: name an item, as in `recipe.views[0].crop`"),
        ("recipe.views[3].crop={}", "recipe.views[3]: is not there: 0 are given"),
        ("recipe.data.mean[0].a=1", "recipe.data.mean[0]: is not there: 0 are given"),
        (
            "recipe.training.epochs=x",
            r#"recipe.training.epochs: must be a whole number from 0 to 4294967295, not "x""#,
        ),
        ("labels.a=[1]", "labels.a: must be text"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal("", &[text]), expected);
    }
}

#[test]
fn what_is_printed_is_short_and_in_order() {
    let text = "name: a\nranks: 2\ndevice: cuda\nrecipe:\n  encoder:\n    resnet:\n      stem: imagenet\n\
                labels:\n  a: '1'\n  b: x\n  c: y\n";
    assert_eq!(to_yaml(&read(text, &[])), text);
}
