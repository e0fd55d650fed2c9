//! Which checkpoints stay while training goes on.

use kindred_ipc::{FromRank, ToRank};
use kindred_proto::ids::{CheckpointId, Generation, Step};

use crate::{
    agent::{Reaction, play},
    job::TestJob,
};

#[test]
fn what_the_coordinator_lets_go_of_is_removed_while_training_goes_on() {
    let job = TestJob::new(1).with("recipe.checkpoint.every_steps=2");
    let heard = &play(job.starts(1), |_, message| match message {
        FromRank::Committed(checkpoint) if checkpoint.0.step == 4 => {
            Reaction::Say(ToRank::Keep { checkpoints: vec![CheckpointId::of(Step(4), Generation(1))] })
        }
        _ => Reaction::Usual,
    })[0];
    heard.result();
    assert_eq!(heard.committed(), [2, 4, 6, 8]);
    let names = [4, 6, 8].map(|step| format!("step-{step:012}-g1"));
    assert_eq!(job.checkpoints(), names);
}
