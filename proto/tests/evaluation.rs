//! Jobs that measure: every bound by example, and what measurements are called.

use kindred_proto::job_spec::{self, AnySpec, EvaluationSpec, JobSpec};

const EVALUATION: &str = "
name: measured
evaluate: {encoder: e/encoder.safetensors, data: {fashion_mnist: {}}}
";

#[test]
fn an_evaluation_job_is_checked_too() {
    let cases = [
        ("recipe={}", "recipe: can not stand beside `evaluate`: leave one of the two out"),
        (
            "evaluate.encoder=''",
            "evaluate.encoder: must be the path of an encoder.safetensors, of at most 4096 bytes",
        ),
        (
            "evaluate.data.mean=[0.5]",
            "evaluate.data.mean: is the encoder's own, from its config.json: leave it out",
        ),
        (
            "evaluate.data={image_folder: {train: images}}",
            "evaluate.data: needs labelled images: give `image_folder.test` (of STL-10 the labelled part)",
        ),
        (
            "evaluate.protocols={knn: {enabled: false}, linear: {enabled: false}}",
            "evaluate.protocols: measures nothing: enable one of its protocols",
        ),
        (
            "evaluate.protocols.linear={epochs: 5}",
            "evaluate.protocols.linear.epochs: is no setting of L-BFGS: choose another `preset`, such as moco",
        ),
        (
            "evaluate.protocols.linear={preset: moco, l2: 1}",
            "evaluate.protocols.linear.l2: is a setting of `preset: lbfgs` only",
        ),
        (
            "evaluate.protocols.linear={preset: sane, momentum: 0.9}",
            "evaluate.protocols.linear.momentum: is no setting of Adam",
        ),
        (
            "evaluate.protocols.linear={preset: sce, factor: 0.5}",
            "evaluate.protocols.linear.factor: has a meaning with `decay: steps` only",
        ),
        (
            "evaluate.protocols.linear={preset: sce, decay: steps}",
            "evaluate.protocols.linear.milestones: must be growing epochs from 1 on, not []",
        ),
        (
            "evaluate.protocols.knn={vote: majority, temperature: 0.1}",
            "evaluate.protocols.knn.temperature: has no meaning where each neighbour has one vote",
        ),
        (
            "evaluate.protocols.further=[{}]",
            "evaluate.protocols.further[0]: measures nothing: give one of knn, linear, purity, prototype_variance",
        ),
        (
            "evaluate.protocols.further=[{purity: {}}, {purity: {k: 5}}]",
            "evaluate.protocols.further[1]: is a second purity_5: give one of them another `name`",
        ),
        (
            "evaluate.protocols.further=[{name: knn, purity: {}}]",
            "evaluate.protocols.further[0].name: is taken by the protocol `knn`: choose another",
        ),
        (
            "evaluate.protocols.further=[{knn: {every_epochs: 2}}]",
            "evaluate.protocols.further[0].knn.every_epochs: has no meaning for a measurement at the end: leave it out",
        ),
    ];
    for (given, expected) in cases {
        let wire = job_spec::from_yaml(EVALUATION, &[given.to_owned()]).unwrap();
        assert_eq!(AnySpec::check(&wire).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_job_that_trains_evaluates_nothing_else() {
    let wire = job_spec::from_yaml(EVALUATION, &[]).unwrap();
    let error = JobSpec::check(&wire).unwrap_err().to_string();
    assert!(error.starts_with("evaluate: has no meaning for a job that trains: leave it out"), "{error}");
}

#[test]
fn an_unnamed_measurement_is_called_by_its_settings() {
    let further = "evaluate.protocols.further=[{knn: {}}, {knn: {vote: majority, k: 1, bank_per_class: 9}}, \
                   {linear: {labelled_share: 0.01}}, {linear: {preset: isd, labelled_share: 0.125}}, {purity: {}}, \
                   {prototype_variance: {}}, {name: mine, purity: {}}]";
    let wire = job_spec::from_yaml(EVALUATION, &[further.to_owned()]).unwrap();
    let protocols = EvaluationSpec::check(&wire).unwrap().evaluate.protocols;
    let names: Vec<_> = protocols.further.into_iter().map(|further| further.name).collect();
    let expected = [
        "knn_20",
        "knn_majority_balanced_1",
        "linear_lbfgs_1_percent",
        "linear_isd_12_5_percent",
        "purity_5",
        "prototype_variance_100",
        "mine",
    ];
    assert_eq!(names, expected);
}
