//! What ranks must agree on, and what is said when they do not.

use kindred_bridge::ErrorKind;
use kindred_data::{Dataset, SECTION_LEN, first_difference};
use kindred_proto::ids::{NodeId, Step};
use tch::Tensor;

use super::Error;
use crate::collective::{Collective, digest};

/// Bytes of a tensor's digest that are compared.
const SHORT_DIGEST: usize = 8;

/// Compares the state of all ranks, tensor by tensor (invariant Q1). All ranks call this after the same step.
///
/// # Errors
/// When ranks differ. Where more than half of them hold the same, the others are corrupt and fail, and to those that agree
/// they are lost; else nobody can know who is right, and all name the first tensor in which a rank differs from rank 0.
pub fn check_state(state: &[(String, Tensor)], taken: Step, collective: &Collective) -> Result<(), Error> {
    if collective.world_size() == 1 {
        return Ok(());
    }
    let names: Vec<&str> = state.iter().map(|(name, _)| name.as_str()).collect();
    compare(&digests(state), &names, taken, collective)
}

/// What [`compare`] compares of a state: a few bytes for each tensor.
pub fn digests(state: &[(String, Tensor)]) -> Vec<u8> {
    let mut digests = Vec::with_capacity(state.len() * SHORT_DIGEST);
    for (_, tensor) in state {
        digests.extend_from_slice(&digest(&[tensor])[..SHORT_DIGEST]);
    }
    digests
}

/// As [`check_state`], of tensors of these names whose [`digests`] are known.
///
/// # Errors
/// As [`check_state`].
pub fn compare(
    own: &[u8],
    names: &[impl AsRef<str>],
    taken: Step,
    collective: &Collective,
) -> Result<(), Error> {
    let all = collective.gather_bytes(own)?;
    let Some(differing) = all.iter().position(|digests| *digests != all[0]) else { return Ok(()) };
    let Some(majority) = majority(&all) else {
        let what = first_difference_of(&all[0], &all[differing], names);
        return Err(Error::StateDiffers { rank: differing as u32, what, step: taken });
    };
    let n_peers = all.iter().filter(|digests| *digests == majority).count();
    let corrupt = all.iter().position(|digests| digests != majority).unwrap_or(differing);
    let (rank, is_own) = if own == majority { (corrupt, false) } else { (collective.rank() as usize, true) };
    let what = first_difference_of(majority, &all[rank], names);
    let error = Error::StateCorrupt { rank: rank as u32, what, step: taken, n_peers, world_size: all.len() };
    // Its own word is the cause; to the others it is a peer that is gone.
    Err(if is_own {
        error
    } else {
        kindred_bridge::Error::new(ErrorKind::PeerLost, error.to_string()).into()
    })
}

/// What more than half of the ranks hold.
fn majority(all: &[Vec<u8>]) -> Option<&Vec<u8>> {
    all.iter().find(|own| 2 * all.iter().filter(|other| other == own).count() > all.len())
}

fn first_difference_of(first: &[u8], other: &[u8], names: &[impl AsRef<str>]) -> String {
    let mut pairs = first.chunks(SHORT_DIGEST).zip(other.chunks(SHORT_DIGEST)).zip(names);
    let found = pairs.find(|((first, other), _)| first != other);
    found.map_or_else(|| "number of tensors".into(), |(_, name)| format!("tensor {}", name.as_ref()))
}

/// Refuses a state that no step can start from: a loss may still be finite when the step that follows it is not.
///
/// # Errors
/// When a value is not finite.
pub fn check_finite(state: &[(String, Tensor)], taken: Step) -> Result<(), Error> {
    for (name, tensor) in state {
        if !bool::try_from(tensor.isfinite().all())? {
            return Err(Error::StateNotFinite { name: name.clone(), step: taken });
        }
    }
    Ok(())
}

/// Compares the index of the data set on all ranks. `nodes` are the ranks' nodes, in rank order.
///
/// # Errors
/// When a rank differs from rank 0: all ranks name both nodes and the first image in which they differ.
pub fn check_data(dataset: &Dataset, nodes: &[NodeId], collective: &Collective) -> Result<(), Error> {
    let digests = collective.gather_bytes(dataset.digest().as_bytes())?;
    let Some(rank) = digests.iter().position(|digest| *digest != digests[0]) else { return Ok(()) };
    let sections = gather_lines(dataset.section_digests(), collective)?;
    let section = first_difference(&sections[0], &sections[rank]).unwrap_or(0);
    let entries = gather_lines(&dataset.section_entries(section), collective)?;
    let line = first_difference(&entries[0], &entries[rank]).unwrap_or(0);
    let said = |rank: usize| entries[rank].get(line).map_or("no image", String::as_str);
    let position = section as u64 * SECTION_LEN + line as u64;
    let file = if position < dataset.len() { dataset.name(position) } else { format!("image {position}") };
    let difference = format!("image {position} is {} on the first and {} on the second", said(0), said(rank));
    Err(Error::DataDiffers { first: nodes[0].clone(), second: nodes[rank].clone(), difference, file })
}

fn gather_lines(own: &[String], collective: &Collective) -> Result<Vec<Vec<String>>, Error> {
    let all = collective.gather_bytes(own.join("\n").as_bytes())?;
    let split = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
    Ok(all.into_iter().map(split).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::on_threads;

    fn state(values: &[f32]) -> Vec<(String, Tensor)> {
        let named =
            |(idx, value): (usize, &f32)| (format!("tensor-{idx}"), Tensor::from_slice(&[*value, 1.0]));
        values.iter().enumerate().map(named).collect()
    }

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        check_finite(&state(&[0.0, -1.0]), Step(3)).expect("all values are finite");
        for value in [f32::NAN, f32::INFINITY] {
            let error = check_finite(&state(&[0.0, value]), Step(3)).expect_err("one value is not");
            assert_eq!(error.to_string(), "tensor tensor-1 holds a value that is not finite after step 3");
        }
    }

    #[test]
    fn q1_two_ranks_whose_state_differs_both_name_the_tensor() {
        let said = on_threads(2, |collective| {
            let own = if collective.rank() == 1 { [0.0, 1.0, 5.0] } else { [0.0, 1.0, 2.0] };
            check_state(&state(&[0.0]), Step(7), &collective).expect("equal state");
            check_state(&state(&own), Step(7), &collective).expect_err("rank 1 differs").to_string()
        });
        assert_eq!(said, ["ranks 0 and 1 differ in tensor tensor-2 after step 7"; 2]);
    }

    #[test]
    fn q1_the_minority_is_corrupt_and_to_the_others_it_is_lost() {
        let errors = on_threads(3, |collective| {
            let own = if collective.rank() == 0 { [0.0, 1.0, 5.0] } else { [0.0, 1.0, 2.0] };
            check_state(&state(&own), Step(7), &collective).expect_err("rank 0 differs")
        });
        let words = "rank 0 holds another tensor tensor-2 than 2 of 3 ranks after step 7";
        assert!(errors.iter().all(|error| error.to_string().starts_with(words)), "{errors:?}");
        assert!(matches!(errors[0], Error::StateCorrupt { .. }));
        assert!(errors[1..].iter().all(Error::is_about_peers), "they go on without it");
    }
}
