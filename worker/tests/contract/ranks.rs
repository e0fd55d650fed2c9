//! What holds between ranks.

use kindred_worker::collective::{Collective, digest};
use tch::Kind;

use crate::{
    relative_difference,
    toy::{self, METHODS, Rank, Trace, spec},
};

const N_STEPS: usize = 3;

/// Numbers of ranks to compare with one; the full suite asks for more, which takes its time with so many methods.
fn world_sizes() -> &'static [u32] {
    if std::env::var_os("KINDRED_CONTRACT_FULL").is_some() { &[2, 4] } else { &[2] }
}

/// Ranks that share the batch are compared with one rank that has it all and takes each step from their state: else
/// rounding would grow from step to step.
fn compare(precision: &str, batch_norm: &str, world_size: u32, tolerance: f64) {
    for &method in METHODS {
        let spec = spec(method, precision, batch_norm);
        let several = toy::run(&spec, world_size, N_STEPS as u64);
        let mut one = Rank::new(&spec, Collective::single());
        for step in 0..N_STEPS {
            if step > 0 {
                one.load(&several[0].states[step - 1]);
            }
            one.steps(step as u64, step as u64 + 1);
        }
        let what = format!("{method:?} in {precision}, {batch_norm}, {world_size} ranks");
        compare_traces(&what, &several, &one.trace(), tolerance);
    }
}

fn compare_traces(what: &str, several: &[Trace], one: &Trace, tolerance: f64) {
    for step in 0..N_STEPS {
        let mean = several.iter().map(|trace| trace.losses[step]).sum::<f64>() / several.len() as f64;
        let difference = (mean - one.losses[step]).abs() / one.losses[step].abs();
        assert!(difference <= tolerance, "{what}: loss of step {step} differs by {difference:e}");
        let named = |trace: &Trace| {
            let gradients =
                trace.gradients[step].iter().map(|(name, x)| (format!("gradient of {name}"), x.copy()));
            gradients
                .chain(trace.states[step].iter().map(|(name, x)| (name.clone(), x.copy())))
                .collect::<Vec<_>>()
        };
        let (several, one) = (named(&several[0]), named(one));
        assert_eq!(several.len(), one.len(), "{what}, step {step}");
        for ((name, got), (_, want)) in several.iter().zip(&one) {
            let difference = relative_difference(got, want);
            assert!(difference <= tolerance, "{what}, step {step}: {name} differs by {difference:e}");
        }
    }
}

/// Micro-batches change nothing where neither objective nor normalisation looks at the batch.
#[test]
fn micro_batches_equal_the_whole_batch_where_columns_are_queued() {
    let queued = ["moco_v1", "moco_v2", "sce", "ressl", "co2", "isd", "cmc"];
    for method in METHODS.iter().copied().filter(|(name, _)| queued.contains(name)) {
        let whole = spec(method, "fp64", "{frozen: true}");
        let mut parts = whole.clone();
        parts.recipe.training.accumulate_steps = 4;
        let whole = &toy::run(&whole, 1, N_STEPS as u64)[0];
        for world_size in [1, 2] {
            let parts = toy::run(&parts, world_size, N_STEPS as u64);
            compare_traces(&format!("{method:?} on {world_size} ranks"), &parts, whole, 1e-10);
        }
    }
}

#[test]
fn clipped_gradients_have_the_norm_and_are_the_same_on_all_ranks() {
    let mut spec = spec(METHODS[0], "fp64", "{frozen: true}");
    let norm = |trace: &Trace| {
        let squares = trace.gradients[0].iter().map(|(_, x)| x.square().sum(Kind::Double).double_value(&[]));
        squares.sum::<f64>().sqrt()
    };
    let unclipped = norm(&toy::run(&spec, 2, 1)[0]);
    spec.recipe.training.clip_norm = Some(unclipped / 2.0);
    let clipped = toy::run(&spec, 2, 1);
    assert!((norm(&clipped[0]) / unclipped - 0.5).abs() < 1e-4);
    assert_eq!(norm(&clipped[0]), norm(&clipped[1]));
}

#[test]
fn ranks_equal_one_rank_with_the_whole_batch_in_f64() {
    for &world_size in world_sizes() {
        for batch_norm in ["{group_size: 4}", "{frozen: true}", "{synchronized: true}"] {
            compare("fp64", batch_norm, world_size, 1e-10);
        }
    }
}

#[test]
fn ranks_equal_one_rank_with_the_whole_batch_in_f32() {
    for batch_norm in ["{group_size: 4}", "{frozen: true}"] {
        compare("fp32", batch_norm, 2, 1e-4);
    }
}

#[test]
fn state_and_gradients_are_the_same_bits_on_all_ranks() {
    for &method in METHODS {
        let most = world_sizes()[world_sizes().len() - 1];
        for (precision, world_size) in [("fp32", most), ("bf16", 2)] {
            let traces = toy::run(&spec(method, precision, "{group_size: 4}"), world_size, N_STEPS as u64);
            for step in 0..N_STEPS {
                let digest_of = |trace: &Trace| {
                    let all = trace.states[step].iter().chain(&trace.gradients[step]);
                    digest(&all.map(|(_, tensor)| tensor).collect::<Vec<_>>())
                };
                let first = digest_of(&traces[0]);
                for (rank, trace) in traces.iter().enumerate() {
                    assert_eq!(
                        digest_of(trace),
                        first,
                        "{method:?} in {precision}: rank {rank}, step {step}"
                    );
                }
            }
        }
    }
}
