//! Every default of every method, printed as users see it: `defaults/*.yaml` are to be read beside the papers.
//!
//! After a change that is meant, write them with `KINDRED_BLESS=1 cargo test -p kindred-proto --test defaults`.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{env, fs, path::Path};

use kindred_proto::{
    job_spec::{self, AnySpec},
    recipe::Method,
};

const FASHION_MNIST: &str = "{fashion_mnist: {}}";
const IMAGE_FOLDER: &str = "{image_folder: {train: images/train, test: images/test}}";

/// Grey images have no colours to split off.
const COLOUR_ONLY: &[&str] = &["cmc", "learned_views"];

/// The least that a user must write for a method on some data: `METHOD_DATA.yaml` holds what it stands for.
#[test]
fn the_defaults_are_the_printed_ones() {
    for method in Method::NAMES {
        for (name, data) in [("fashion_mnist", FASHION_MNIST), ("image_folder", IMAGE_FOLDER)] {
            if COLOUR_ONLY.contains(method) && name == "fashion_mnist" {
                continue;
            }
            let text =
                format!("name: defaults\nranks: 2\nrecipe: {{data: {data}, method: {{{method}: {{}}}}}}\n");
            assert_printed(&text, &format!("{method}_{name}"));
        }
    }
}

#[test]
fn the_defaults_of_every_probe_are_the_printed_ones() {
    let presets = ["moco", "isd", "sane", "sane_imagenet", "infomin", "sce", "pcl"];
    let probe = |preset| format!("{{linear: {{preset: {preset}}}}}");
    let further = ["{knn: {}}", "{purity: {}}", "{prototype_variance: {}}"].map(str::to_owned);
    let further: Vec<String> = further.into_iter().chain(presets.map(probe)).collect();
    let text = format!(
        "name: defaults\nevaluate: {{encoder: encoder.safetensors, data: {FASHION_MNIST}, \
         protocols: {{further: [{}]}}}}\n",
        further.join(", ")
    );
    assert_printed(&text, "evaluate");
}

fn assert_printed(text: &str, file: &str) {
    let spec = AnySpec::check(&job_spec::from_yaml(text, &[]).unwrap()).unwrap();
    let printed = job_spec::to_yaml(&spec.to_wire());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/defaults/{file}.yaml"));
    if env::var_os("KINDRED_BLESS").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    assert_eq!(printed, fs::read_to_string(&path).unwrap(), "{file}");
}
