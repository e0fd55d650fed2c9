//! What a probe finds, whatever fits it.

use kindred_bridge::ErrorKind;
use kindred_proto::{job_spec, v1};
use tch::Device;

use super::*;
use crate::collective::{Collective, on_threads};

/// A probe as a user writes it.
fn probe(settings: &str) -> LinearProbe {
    let text = format!(
        "name: probe\nevaluate: {{encoder: e, data: {{fashion_mnist: {{}}}}, protocols: {{linear: {settings}}}}}\n"
    );
    let wire: v1::JobSpec = job_spec::from_yaml(&text, &[]).expect("the text is a job");
    let spec = job_spec::EvaluationSpec::check(&wire).expect("the job is sound");
    spec.evaluate.protocols.linear.expect("it is enabled")
}

fn clusters(n: i64, shift: f64) -> Labelled {
    let labels_n = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(3);
    let centres = Tensor::from_slice2(&[[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]);
    let noise = (Tensor::arange(3 * n, (Kind::Double, Device::Cpu)) * 12.9898 + shift).sin().view([n, 3]);
    Labelled { rows_nf: centres.index_select(0, &labels_n) + noise, labels_n }
}

fn accuracy_of(settings: &str, collective: &Collective) -> Figures {
    let (train, test) = (clusters(600, 0.0), clusters(90, 1.0));
    accuracy(&train, &test, 3, &probe(settings), &Session::alone(collective)).expect("all ranks are here")
}

#[test]
fn separate_clusters_are_told_apart_by_every_preset() {
    let small =
        ["{max_iterations: 50}", "{preset: moco, epochs: 5}", "{preset: isd}", "{preset: sane, epochs: 20}"];
    let rest = [
        "{preset: sane_imagenet, epochs: 5}",
        "{preset: infomin, epochs: 5}",
        "{preset: sce}",
        "{preset: pcl}",
    ];
    for settings in small.into_iter().chain(rest).chain(["{preset: isd, labelled_share: 0.1}"]) {
        let figures = accuracy_of(settings, &Collective::single());
        assert!(figures.len() == 1 && figures[0].1 > 97.0, "{settings}: {figures:?}");
    }
}

#[test]
fn any_number_of_ranks_gives_the_same_figures() {
    for settings in ["{}", "{preset: isd, epochs: 5, labelled_share: 0.05}"] {
        let alone = accuracy_of(settings, &Collective::single());
        for rank in on_threads(3, |collective| accuracy_of(settings, &collective)) {
            assert_eq!(rank, alone, "{settings}");
        }
    }
}

#[test]
fn with_more_than_five_classes_the_five_highest_are_counted_too() {
    let labels_n = Tensor::arange(7, (Kind::Int64, Device::Cpu));
    let test = Labelled { rows_nf: labels_n.to_kind(Kind::Double).unsqueeze(1), labels_n };
    // Each row scores the classes by number, whatever it is: class 6 highest.
    let scores =
        |rows: &Tensor| Tensor::arange(7, (Kind::Double, Device::Cpu)).expand([rows.size()[0], 7], false);
    let alone = Collective::single();
    let figures = count_correct(&test, 7, scores, &Session::alone(&alone)).expect("nobody else takes part");
    assert_eq!(figures, [("accuracy_percent", 100.0 / 7.0), ("top5_accuracy_percent", 500.0 / 7.0)]);
}

#[test]
fn features_are_scaled_as_the_recipe_says() {
    let rows = Tensor::from_slice(&[3.0, 4.0, 0.0, 2.0]).view([2, 2]);
    let scaled =
        |scaling| Vec::<f64>::try_from(Scaler::fit(&rows, scaling).apply(&rows).view([-1])).expect("flat");
    assert_eq!(scaled(Scaling::None), [3.0, 4.0, 0.0, 2.0]);
    let close =
        |got: Vec<f64>, want: [f64; 4]| got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-4);
    let half = 0.5_f64.sqrt();
    assert!(close(scaled(Scaling::Standard), [half, half, -half, -half]));
    // Rows of unit length are (0.6, 0.8) and (0, 1).
    let unit = scaled(Scaling::UnitStandard);
    let by_hand = |offset: f64, variance: f64| offset / (variance + EPSILON).sqrt();
    assert!(close(unit, [by_hand(0.3, 0.18), by_hand(-0.1, 0.02), by_hand(-0.3, 0.18), by_hand(0.1, 0.02)]));
}

#[test]
fn a_peer_that_is_lost_is_no_fault_of_the_solver() {
    on_threads(2, |collective| {
        if collective.rank() == 0 {
            let (train, test) = (clusters(30, 0.0), clusters(9, 1.0));
            let error = accuracy(&train, &test, 3, &probe("{}"), &Session::alone(&collective));
            let Err(Error::Collective(error)) = error else { panic!("rank 1 is gone") };
            assert_eq!(error.kind, ErrorKind::PeerLost, "{error}");
        }
    });
}
