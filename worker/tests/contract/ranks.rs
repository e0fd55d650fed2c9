//! What holds between ranks.

use kindred_worker::collective::digest;

use crate::{
    relative_difference,
    toy::{self, METHODS, Trace, spec},
};

/// Ranks that share the batch are compared with one rank that has it all.
fn compare(precision: &str, batch_norm: &str, world_size: u32, tolerance: f64) {
    for method in METHODS {
        let spec = spec(method, precision, batch_norm);
        let (one, several) = (&toy::run(&spec, 1, 3)[0], toy::run(&spec, world_size, 3));
        let what = format!("{method:?} in {precision}, {batch_norm}, {world_size} ranks");
        for step in 0..3 {
            let mean = several.iter().map(|trace| trace.losses[step]).sum::<f64>() / f64::from(world_size);
            let difference = (mean - one.losses[step]).abs() / one.losses[step].abs();
            assert!(difference <= tolerance, "{what}: loss of step {step} differs by {difference:e}");
            compare_gradients(&format!("{what}, step {step}"), &several[0], one, step, tolerance);
        }
    }
}

fn compare_gradients(what: &str, got: &Trace, want: &Trace, step: usize, tolerance: f64) {
    for (idx, (got, want)) in got.gradients[step].iter().zip(&want.gradients[step]).enumerate() {
        let difference = relative_difference(got, want);
        assert!(difference <= tolerance, "{what}: gradient {idx} differs by {difference:e}");
    }
}

#[test]
fn ranks_equal_one_rank_with_the_whole_batch_in_f64() {
    for world_size in [2, 4] {
        for batch_norm in ["{group_size: 4}", "{frozen: true}"] {
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
    for method in METHODS {
        for (precision, world_size) in [("fp32", 4), ("bf16", 2)] {
            let traces = toy::run(&spec(method, precision, "{group_size: 4}"), world_size, 3);
            for step in 0..3 {
                let digest_of = |trace: &Trace| {
                    let state = trace.states[step].iter().map(|(_, tensor)| tensor);
                    digest(&state.chain(&trace.gradients[step]).collect::<Vec<_>>())
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
