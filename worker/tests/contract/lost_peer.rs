//! What the loss of a rank costs the others: the step that was cut short, and no bit of their state.

use std::sync::Mutex;

use kindred_worker::collective::{Collective, on_threads};

use crate::toy::{self, METHODS, Named, Rank, spec};

const LOST_AT: u64 = 2;
const N_STEPS: u64 = 4;

fn assert_same(what: &str, got: &Named, want: &Named) {
    for ((name, got), (_, want)) in got.iter().zip(want) {
        assert!(got.equal(want), "{what}: {name} differs");
    }
}

/// Rank 1 goes before a step; rank 0 meets another one in its place, which takes over its state.
#[test]
fn a_survivor_goes_on_with_a_new_peer_to_the_same_bits() {
    for &method in METHODS {
        let spec = spec(method, "fp32", "{group_size: 4}");
        let survivor = Mutex::new(None);
        on_threads(2, |collective| {
            let mut rank = Rank::new(&spec, collective.clone());
            rank.steps(0, LOST_AT);
            if collective.rank() == 1 {
                return;
            }
            let before = rank.state();
            rank.try_steps(LOST_AT, N_STEPS).expect_err("its peer is gone");
            assert_same(&format!("{method:?} after a step that failed"), &rank.state(), &before);
            rank.leave();
            *survivor.lock().expect("nobody panics") = Some(rank);
        });
        let last_states = on_threads(2, |collective| {
            let is_survivor = collective.rank() == 0;
            let survivor = if is_survivor { survivor.lock().expect("nobody panics").take() } else { None };
            let mut rank = survivor.unwrap_or_else(|| Rank::new(&spec, Collective::single()));
            rank.rejoin(collective, 0);
            rank.steps(LOST_AT, N_STEPS);
            rank.state()
        });
        let undisturbed = toy::run(&spec, 2, N_STEPS);
        for last in &last_states {
            assert_same(
                &format!("{method:?} at the end"),
                last,
                &undisturbed[0].states[N_STEPS as usize - 1],
            );
        }
    }
}
