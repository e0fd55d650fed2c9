//! What every method promises, whatever its formula: looped over the table of methods.

use kindred_proto::recipe::Method;
use kindred_worker::collective::Collective;
use tch::{Kind, Tensor};

mod elastic;
mod identities;
mod lost_peer;
mod ranks;
mod toy;

use toy::{METHODS, Rank, spec};

/// Four groups in the batch of one rank.
const GROUPS: &str = "{group_size: 4}";

#[test]
fn every_method_of_the_table_is_tried_here() {
    for name in Method::NAMES {
        assert!(METHODS.iter().any(|(tried, _)| tried == name), "{name} has no contract test");
    }
}

#[test]
fn the_loss_is_finite_and_falls_on_toy_data() {
    for &method in METHODS {
        let mut rank = Rank::new(&spec(method, "fp32", GROUPS), Collective::single());
        // The queue begins with random rows, which are easy to tell from keys: it is filled first.
        rank.with_lr(0.0).steps(0, 3).with_lr(0.005).steps(3, 63);
        let losses = rank.trace().losses;
        assert!(losses.iter().all(|loss| loss.is_finite()), "{method:?}: {losses:?}");
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[5..10]), mean(&losses[58..]));
        assert!(last < 0.9 * first, "{method:?}: {first} to {last}");
    }
}

#[test]
fn the_same_seed_gives_the_same_losses() {
    for &method in METHODS {
        let losses = |seed| {
            let mut spec = spec(method, "fp32", GROUPS);
            spec.recipe.training.seed = seed;
            toy::run(&spec, 1, 3).remove(0).losses
        };
        assert_eq!(losses(1), losses(1), "{method:?}");
        assert_ne!(losses(1), losses(2), "{method:?}");
    }
}

#[test]
fn a_loaded_state_gives_the_next_losses_to_the_bit() {
    for &method in METHODS {
        let spec = spec(method, "fp32", GROUPS);
        let mut straight = Rank::new(&spec, Collective::single());
        straight.steps(0, 4);
        let saved: Vec<(String, Tensor)> =
            straight.state().into_iter().map(|(name, x)| (name, x.copy())).collect();
        straight.steps(4, 7);

        let mut resumed = Rank::new(&spec, Collective::single());
        resumed.steps(50, 53).load(&saved).steps(4, 7);
        assert_eq!(straight.trace().losses[4..], resumed.trace().losses[3..], "{method:?}");
    }
}

#[test]
fn a_transformer_learns_and_goes_on_to_the_bit() {
    let spec = toy::transformer(&spec(METHODS[0], "fp32", GROUPS));
    let mut straight = Rank::new(&spec, Collective::single());
    straight.with_lr(0.0).steps(0, 3).with_lr(0.005).steps(3, 4);
    let saved = straight.state();
    straight.steps(4, 30);

    let mut resumed = Rank::new(&spec, Collective::single());
    resumed.load(&saved);
    resumed.with_lr(0.005).steps(4, 30);
    let losses = straight.trace().losses;
    assert_eq!(losses[4..], resumed.trace().losses);
    assert!(losses[29] < 0.9 * losses[4], "{losses:?}");
}

#[test]
fn what_gradients_do_not_train_stays_put() {
    for &method in METHODS {
        let mut rank = Rank::new(&spec(method, "fp32", "{frozen: true}"), Collective::single());
        let trained = rank.trained();
        let is_still = |name: &str| name.starts_with("online.") && !trained.iter().any(|other| other == name);
        let before: Vec<(String, Tensor)> =
            rank.state().into_iter().map(|(name, x)| (name, x.copy())).collect();
        rank.steps(0, 3);
        let mut n_still = 0;
        for ((name, before), (_, after)) in before.iter().zip(rank.state()) {
            if is_still(name) {
                n_still += 1;
                assert!(before.equal(&after), "{method:?}: {name} moved");
            } else if trained.contains(name) {
                assert!(!before.equal(&after), "{method:?}: {name} did not move");
            }
        }
        assert!(n_still > 0, "{method:?}: frozen normalisation leaves something untrained");
    }
}

#[test]
fn losses_agree_between_number_formats() {
    for &method in METHODS {
        let losses = |precision| toy::run(&spec(method, precision, GROUPS), 1, 1).remove(0).losses;
        let exact = losses("fp64")[0];
        // Only cosines give negative losses, and their scale is 1.
        let scale = if exact > 0.0 { exact } else { 1.0 };
        assert!((losses("fp32")[0] - exact).abs() < 1e-4 * scale, "{method:?}");
        assert!((losses("bf16")[0] - exact).abs() < 0.05 * scale, "{method:?}");
    }
}

/// Tensors of a smaller norm are zero but for rounding.
const SMALLEST_NORM: f64 = 1e-6;

/// `‖got - want‖ / ‖want‖`, in f64.
fn relative_difference(got: &Tensor, want: &Tensor) -> f64 {
    let (got, want) = (got.to_kind(Kind::Double), want.to_kind(Kind::Double));
    ((got - &want).norm() / want.norm().clamp_min(SMALLEST_NORM)).double_value(&[])
}
