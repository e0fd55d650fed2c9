//! Jobs that measure a finished encoder.

use std::{collections::HashMap, fs};

use kindred_ipc::{FromRank, ToRank};
use kindred_proto::{ids::NodeId, v1};

use crate::{
    agent::{Heard, Reaction, play, play_as_usual, progress_step},
    job::TestJob,
};

/// A job whose encoder is there.
fn trained() -> TestJob {
    let job = TestJob::new(1).with("recipe.training.max_steps=2");
    play_as_usual(job.starts(1))[0].result();
    job
}

fn figures(job: &TestJob) -> HashMap<String, f64> {
    let heard = play_as_usual(job.starts(1));
    for rank in &heard {
        assert_eq!(rank.warnings(), [""; 0]);
    }
    assert!(heard[1..].iter().all(|rank| *rank.result() == v1::JobResult::default()));
    let result = heard[0].result();
    assert_eq!(result.encoder_digest.len(), 64);
    for (name, value) in &result.metrics {
        assert_eq!(heard[0].series(name).iter().map(|point| point.1).collect::<Vec<_>>(), [*value], "{name}");
    }
    result.metrics.clone()
}

#[test]
fn any_number_of_ranks_gives_the_same_figures() {
    let job = trained().evaluated(1);
    let alone = figures(&job);
    let mut names: Vec<&str> = alone.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "knn_accuracy_percent",
        "knn_majority_balanced_1_accuracy_percent",
        "knn_majority_balanced_1_rare_accuracy_percent",
        "linear_accuracy_percent",
        "linear_isd_50_percent_accuracy_percent",
        "prototype_variance_4",
        "prototype_variance_4_share",
        "purity_4_percent",
    ];
    assert_eq!(names, expected);
    for n_ranks in [2, 3] {
        let together = figures(&trained().evaluated(n_ranks));
        for (name, value) in &alone {
            assert!(
                (together[name] - value).abs() < 1e-9,
                "{name} on {n_ranks} ranks: {} {value}",
                together[name]
            );
        }
    }
}

#[test]
fn progress_goes_from_nothing_to_all() {
    let heard = &play_as_usual(trained().evaluated(1).starts(1))[0];
    let steps: Vec<u64> = heard.messages.iter().filter_map(progress_step).collect();
    // Two data sets of one chunk, three epochs of one probe, and five protocols more.
    assert_eq!((steps.first(), steps.last()), (Some(&0), Some(&10)));
    assert!(heard.committed().is_empty(), "nothing is checkpointed");
}

#[test]
fn all_ranks_stop_when_one_is_asked() {
    let job = trained().evaluated(2).with("evaluate.protocols.further[1].linear.epochs=100000");
    let heard = play(job.starts(1), |rank, message| match progress_step(message) {
        Some(4..) if rank == 1 => Reaction::Say(ToRank::Stop { checkpoint: true }),
        _ => Reaction::Usual,
    });
    assert!(heard.iter().all(Heard::is_stopped), "{:?}", heard[0].messages.last());
}

#[test]
fn a_rank_whose_node_lacks_the_encoder_is_given_it() {
    let (job, elsewhere) = (trained(), TestJob::new(1));
    let encoder = job.data().join("encoder");
    fs::rename(job.job_dir().join("encoder"), &encoder).expect("it was there");
    let job = job.evaluated(2).with("evaluate.encoder=encoder/encoder.safetensors");
    let starts = |first: usize| {
        let mut starts = job.starts(1);
        starts[1 - first].node_id = NodeId::new("node-2");
        starts[1 - first].data_root = elsewhere.data();
        starts
    };
    let figures = [0, 1].map(|first| play_as_usual(starts(first))[0].result().metrics.clone());
    assert_eq!(figures[0], figures[1]);
    fs::remove_dir_all(encoder).expect("it was there");
    let failure = play_as_usual(starts(0))[1].failure().clone();
    assert_eq!(failure.reason(), v1::FailureReason::DataNotFound);
    assert!(failure.message.contains("is on none of the job's nodes"), "{}", failure.message);
}

#[test]
fn what_does_not_fit_names_the_field_and_the_fix() {
    let cases = [
        (
            "evaluate.data.image_folder.channels=3",
            "the encoder takes 1: name others, or set `image_folder.channels`",
        ),
        (
            "evaluate.protocols.further[0].knn.bank_per_class=17",
            "measurement knn_majority_balanced_1: bank_per_class asks for 17 training images of each class, class 0 \
             has 16",
        ),
    ];
    for (assignment, words) in cases {
        let job = trained().evaluated(1).with(assignment);
        let failure = play_as_usual(job.starts(1))[0].failure().clone();
        assert_eq!(failure.reason(), v1::FailureReason::SpecInvalid, "{}", failure.message);
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[test]
fn after_unbalanced_training_its_classes_alone_take_part() {
    let job = || {
        let job = trained();
        for split in ["train", "test"] {
            let (from, to) = (job.data().join(split).join("class-1"), job.data().join(split).join("class-2"));
            fs::create_dir(&to).expect("a new folder");
            for file in fs::read_dir(&from).expect("it is there") {
                let name = file.expect("a listed file").file_name();
                fs::copy(from.join(&name), to.join(&name)).expect("there is room");
            }
        }
        let unbalanced = "evaluate.trained_on={large_and_rare: {n_large: 1, n_rare: 1, rare_size: 2}}";
        job.evaluated(1).with("evaluate.protocols={linear: {enabled: false}, knn: {k: 1}}").with(unbalanced)
    };
    let mut found: Vec<String> = figures(&job()).into_keys().collect();
    found.sort_unstable();
    assert_eq!(found, ["knn_accuracy_percent", "knn_rare_accuracy_percent"], "the rare class is counted too");
    let is_left_out = |class: u32| {
        let job = job().with(&format!("evaluate.protocols.knn.rare_classes=[{class}]"));
        let heard = play_as_usual(job.starts(1)).remove(0);
        matches!(heard.messages.last(), Some(FromRank::Failed(failure)) if failure.0.message.contains("names no class"))
    };
    assert_eq!((0..3).filter(|&class| is_left_out(class)).count(), 1, "one of the three was never learnt");
}
