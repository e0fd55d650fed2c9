//! Bad input and bad luck: each failure names what must change, and nothing that was written is lost.

use std::fs;

use kindred_ipc::{FromRank, ToRank, Wire};
use kindred_proto::{ids::NodeId, v1};
use kindred_worker::checkpoint::newest_good;

use crate::{
    agent::{Heard, Reaction, play, play_as_usual},
    job::TestJob,
    training::stop_at,
};

fn assert_failed(heard: &Heard, reason: v1::FailureReason, words: &[&str]) {
    let failure = heard.failure();
    assert_eq!(failure.reason(), reason, "{}", failure.message);
    for word in words {
        assert!(failure.message.contains(word), "{word} is not in: {}", failure.message);
    }
    assert_eq!(failure.node_id, "node-1");
}

#[test]
fn a_gpu_that_is_not_there_is_named() {
    if tch::Cuda::is_available() {
        return;
    }
    let job = TestJob::new(1).with("device=cuda");
    let heard = &play_as_usual(job.starts(1))[0];
    assert_failed(heard, v1::FailureReason::DeviceUnavailable, &["cuda device 0 is not there"]);
}

#[test]
fn a_missing_folder_is_named() {
    let job = TestJob::new(1);
    fs::remove_dir_all(job.data().join("train")).expect("it was there");
    let heard = &play_as_usual(job.starts(1))[0];
    assert_failed(heard, v1::FailureReason::DataNotFound, &["train"]);
    assert!(heard.failure().subject.ends_with("train"));
}

#[test]
fn a_truncated_jpeg_is_named_and_the_checkpoints_stay() {
    let job = TestJob::new(1).with("recipe.checkpoint.every_steps=1");
    assert!(stop_at(&job, 1, 2)[0].is_stopped());
    let before = job.checkpoints();
    let file = job.data().join("train/class-0/00.png");
    let n_bytes = fs::metadata(&file).expect("it is there").len() as usize;
    let mut jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00".to_vec();
    jpeg.resize(n_bytes, 0);
    let image = fs::read(&file).expect("it is readable");
    fs::write(&file, jpeg).expect("it is writable");
    let heard = &play_as_usual(job.starts(2))[0];
    assert_failed(heard, v1::FailureReason::DataInvalid, &["train/class-0/00.png"]);
    assert_eq!(heard.failure().subject, file.display().to_string());
    assert!(job.checkpoints().last() >= before.last(), "{:?} came after {before:?}", job.checkpoints());
    fs::write(&file, image).expect("it is writable");
    play_as_usual(job.starts(3))[0].result();
}

#[test]
fn a_loss_that_is_no_number_names_step_and_rate_and_the_checkpoints_stay() {
    let job = TestJob::new(2)
        .with("recipe.optimizer.sgd.lr=10000")
        .with("recipe.optimizer.sgd.weight_decay=1")
        .with("recipe.checkpoint.every_steps=8");
    let stopped = play(job.starts(1), |_, message| match message {
        FromRank::Progress(progress) if progress.0.activity == "training" => {
            Reaction::Say(ToRank::Stop { checkpoint: true })
        }
        _ => Reaction::Usual,
    });
    assert!(stopped.iter().all(Heard::is_stopped));
    let taken = stopped[0].committed()[0];
    let heard = play_as_usual(job.starts(2));
    for rank in &heard {
        assert_failed(rank, v1::FailureReason::NotFinite, &["loss is NaN at step 4 with learning rate"]);
        assert_eq!(rank.failure().kind(), v1::FailureKind::User);
        assert_eq!(rank.failure().subject, "recipe.optimizer");
    }
    let steps: Vec<u64> = heard[0].series("loss").iter().map(|point| point.0).collect();
    assert_eq!(steps, (taken + 1..=3).collect::<Vec<_>>());
    assert_eq!(job.checkpoints(), [format!("step-{taken:012}-g1")]);
    assert!(newest_good(&job.job_dir().join("checkpoints")).expect("it can be listed").is_some());
}

#[test]
fn nodes_whose_data_differ_are_both_named_with_the_file() {
    let (job, other) = (TestJob::new(2), TestJob::new(2));
    let file = other.data().join("train/class-1/03.png");
    let mut bytes = fs::read(&file).expect("it is readable");
    bytes.push(0);
    fs::write(&file, bytes).expect("it is writable");
    let mut starts = job.starts(1);
    starts[1].node_id = NodeId::new("node-2");
    starts[1].data_root = other.data();
    starts[1].job_dir = other.job_dir();
    let heard = play_as_usual(starts);
    assert_failed(&heard[0], v1::FailureReason::DataDiffers, &["node-1", "node-2", "class-1/03.png"]);
    assert_eq!(heard[1].failure().reason(), v1::FailureReason::DataDiffers);
}

#[test]
fn a_checkpoint_of_other_data_is_refused() {
    let job = TestJob::new(1);
    assert!(stop_at(&job, 1, 2)[0].is_stopped());
    fs::remove_file(job.data().join("train/class-0/30.png")).expect("it was there");
    let heard = &play_as_usual(job.starts(2))[0];
    assert_failed(heard, v1::FailureReason::CheckpointUnreadable, &["belongs to another data set"]);
    assert_eq!(job.checkpoints().len(), 1, "it stays");
}

#[test]
fn a_job_whose_checkpoints_are_gone_does_not_begin_anew() {
    let job = TestJob::new(1);
    let mut starts = job.starts(2);
    let recorded = v1::Checkpoint {
        id: "step-000000000004-g1".into(),
        step: 4,
        path: "/elsewhere/step-000000000004-g1".into(),
        node_id: "node-9".into(),
        ..Default::default()
    };
    starts[0].resume_from = Some(Wire(recorded));
    let heard = &play_as_usual(starts)[0];
    assert_failed(heard, v1::FailureReason::CheckpointUnreadable, &["step-000000000004-g1", "node-9"]);
}

#[test]
fn a_lost_peer_is_noticed_and_the_job_goes_on_from_its_checkpoint() {
    let job = TestJob::new(2);
    let heard = play(job.starts(1), |rank, message| match message {
        FromRank::Progress(progress) if rank == 1 && progress.0.step == 6 => Reaction::Kill,
        _ => Reaction::Usual,
    });
    assert_failed(&heard[0], v1::FailureReason::PeerLost, &[]);
    assert_eq!(heard[0].failure().kind(), v1::FailureKind::Retryable);
    let second = play_as_usual(job.starts(2));
    second[0].result();
    assert_eq!(second[0].series("loss")[0].0, 5);
}
