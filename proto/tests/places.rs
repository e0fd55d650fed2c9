//! Where shards may lie.

use kindred_proto::job_spec::{self, JobSpec};

/// What is wrong with shards there; nothing where all is well.
fn refusal(train: &str) -> String {
    let yaml = format!(
        "name: shards\nranks: 1\nrecipe:\n  data: {{webdataset: {{train: '{train}'}}}}\n  method: {{moco_v2: {{}}}}\n"
    );
    let wire = job_spec::from_yaml(&yaml, &[]).expect("its form is right");
    JobSpec::check(&wire).err().map_or(String::new(), |error| error.to_string())
}

#[test]
fn shards_lie_in_a_folder_or_in_a_store() {
    for place in ["shards", "/data/shards", "s3://bucket/shards", "s3://bucket", "file:///data/shards"] {
        assert!(!refusal(place).contains("recipe.data"), "{place}: {}", refusal(place));
    }
    for place in ["gs://bucket/shards", "s3://", "file://data/shards"] {
        let words = "recipe.data.webdataset.train: names no place that shards can be read from: give a folder, s3://BUCKET/PREFIX or file:///FOLDER";
        assert!(refusal(place).contains(words), "{place}: {}", refusal(place));
    }
    for place in ["s3://bucket/a/../b", "s3://bucket/a/%2e%2e/b", "s3://bucket/a b", "file:///data/..\\\\b"] {
        let words = "recipe.data.webdataset.train: must be plain";
        assert!(refusal(place).contains(words), "{place}: {}", refusal(place));
    }
}
