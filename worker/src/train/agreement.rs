//! What ranks must agree on, and what is said when they do not.

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
/// When a rank differs from rank 0: all ranks name the first such tensor.
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
    let Some(rank) = all.iter().position(|digests| *digests != all[0]) else { return Ok(()) };
    let pairs = all[0].chunks(SHORT_DIGEST).zip(all[rank].chunks(SHORT_DIGEST));
    let what = pairs.zip(names).find(|((first, other), _)| first != other);
    let what =
        what.map_or_else(|| "the number of tensors".into(), |(_, name)| format!("tensor {}", name.as_ref()));
    Err(Error::StateDiffers { rank: rank as u32, what, step: taken })
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
    fn q1_ranks_whose_state_differs_all_name_the_tensor() {
        let said = on_threads(3, |collective| {
            let own = if collective.rank() == 2 { [0.0, 1.0, 5.0] } else { [0.0, 1.0, 2.0] };
            check_state(&state(&[0.0]), Step(7), &collective).expect("equal state");
            check_state(&state(&own), Step(7), &collective).expect_err("rank 2 differs").to_string()
        });
        assert_eq!(said, ["ranks 0 and 2 differ in tensor tensor-2 after step 7"; 3]);
    }
}
