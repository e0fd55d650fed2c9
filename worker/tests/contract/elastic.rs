//! A run whose number of ranks changes is the run that keeps it.

use std::sync::Mutex;

use kindred_proto::{job_spec::JobSpec, recipe::Training};
use kindred_worker::collective::{Collective, on_threads};

use crate::{
    relative_difference,
    toy::{self, METHODS, Rank, Trace, spec},
};

/// A batch that 1, 2, 3 and 4 ranks share, its groups, and the steps of a run; the full suite has larger ones.
fn sizes() -> (u32, u32, u64) {
    if is_full() { (192, 16, 200) } else { (48, 4, 24) }
}

fn is_full() -> bool {
    std::env::var_os("KINDRED_CONTRACT_FULL").is_some()
}

fn job(precision: &str) -> JobSpec {
    let (global_batch, group_size, _) = sizes();
    let sce = METHODS.iter().find(|(name, _)| *name == "sce").expect("it is in the table");
    let mut spec = spec(*sce, precision, &format!("{{group_size: {group_size}}}"));
    spec.recipe.training = Training { global_batch, ..spec.recipe.training };
    spec
}

/// The loss of the whole batch at each step.
fn mean_losses(traces: &[Trace]) -> Vec<f64> {
    let at = |step: usize| traces.iter().map(|trace| trace.losses[step]).sum::<f64>() / traces.len() as f64;
    (0..traces[0].losses.len()).map(at).collect()
}

/// Losses of a run in parts, each of a number of ranks and up to a step. Ranks that are there already keep their state and
/// number, further ones take over that of rank 0, and those that are too many leave.
fn losses_in_parts(spec: &JobSpec, parts: &[(u32, u64)]) -> Vec<f64> {
    let (mut losses, mut start) = (Vec::new(), 0);
    let mut there: Vec<Mutex<Option<Rank>>> = Vec::new();
    for &(world_size, end) in parts {
        there.resize_with(world_size as usize, Mutex::default);
        let traces = on_threads(world_size, |collective| {
            let place = &there[collective.rank() as usize];
            let survivor = place.lock().expect("nobody panics").take();
            let mut rank = survivor.unwrap_or_else(|| Rank::new(spec, Collective::single()));
            rank.rejoin(collective, 0);
            rank.steps(start, end);
            rank.leave();
            let trace = rank.take_trace();
            *place.lock().expect("nobody panics") = Some(rank);
            trace
        });
        losses.extend(mean_losses(&traces));
        start = end;
    }
    losses
}

#[test]
fn a_run_that_changes_its_number_of_ranks_has_the_losses_of_one_that_does_not() {
    let (spec, n_steps) = (job("fp64"), sizes().2);
    let one = toy::run(&spec, 1, n_steps).remove(0).losses;
    let quarter = n_steps / 4;
    let changing = [(2, quarter), (4, 2 * quarter), (3, 3 * quarter), (2, n_steps)];
    let mut runs = vec![("2 to 4 to 3 to 2".to_owned(), losses_in_parts(&spec, &changing))];
    for world_size in [2, 4] {
        runs.push((format!("{world_size}"), losses_in_parts(&spec, &[(world_size, n_steps)])));
    }
    for (ranks, losses) in runs {
        assert_eq!(losses.len(), one.len());
        for (step, (loss, of_one)) in losses.iter().zip(&one).enumerate() {
            let difference = (loss - of_one).abs() / of_one.abs();
            assert!(difference < 1e-6, "{ranks} ranks, step {step}: {loss} and {of_one}");
        }
    }
}

/// From the same state, at points along a run.
#[test]
fn a_step_in_f32_is_the_same_at_any_number_of_ranks() {
    let (spec, n_steps) = (job("fp32"), sizes().2);
    let n_points = if is_full() { 10 } else { 4 };
    let mut run = Rank::new(&spec, Collective::single());
    for point in 0..n_points {
        let step = point * n_steps / n_points;
        let saved = Mutex::new(run.state());
        run.steps(step, step + 1);
        let one = run.take_trace();
        for world_size in [2, 3, 4] {
            let several = on_threads(world_size, |collective| {
                let mut rank = Rank::new(&spec, collective);
                rank.load(&saved.lock().expect("nobody panics"));
                rank.steps(step, step + 1);
                rank.trace()
            });
            let (loss, of_one) = (mean_losses(&several)[0], one.losses[0]);
            assert!((loss - of_one).abs() / of_one.abs() < 1e-5, "{world_size} ranks, step {step}");
            for ((name, got), (_, want)) in several[0].gradients[0].iter().zip(&one.gradients[0]) {
                let difference = relative_difference(got, want);
                assert!(
                    difference < 1e-4,
                    "{world_size} ranks, step {step}: {name} differs by {difference:e}"
                );
            }
        }
        run.steps(step + 1, (point + 1) * n_steps / n_points);
        run.take_trace();
    }
}
