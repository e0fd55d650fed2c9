//! A step's batch in micro-batches, which are passed one after the other.
//!
//! To a method's `embed` and `loss` a micro-batch is a batch: batch normalisation, shuffling and columns that come from
//! the batch see no more. Its teacher and its memory move once a step, with the rows of all micro-batches in the order
//! that they have without accumulation. So, where an objective has no columns of the batch, accumulation changes nothing
//! but batch statistics.

use tch::Tensor;

use crate::methods::{Embeddings, Gathered, Input, Loss};

/// What became of a micro-batch, or of all of a step's; without gradient.
pub(super) struct Passed {
    /// This rank's loss, a scalar.
    pub loss: Tensor,
    /// The method's own scalars.
    pub metrics: Vec<(&'static str, Tensor)>,
    pub local: Embeddings,
    pub gathered: Gathered,
}

impl Passed {
    /// Lets go of the graph.
    pub fn new(loss: Loss, local: &Embeddings, gathered: &Gathered) -> Self {
        let metrics = loss.metrics.into_iter().map(|(name, value)| (name, value.detach())).collect();
        let local = Embeddings { queries: detached(&local.queries), keys: detached(&local.keys) };
        let gathered = Gathered {
            queries: detached(&gathered.queries),
            keys: detached(&gathered.keys),
            samples_n: gathered.samples_n.shallow_clone(),
            first_row: gathered.first_row,
        };
        Self { loss: loss.total.detach(), metrics, local, gathered }
    }
}

/// Cuts a rank's batch into as many equal parts, in order. A view may have several rows an image.
pub(super) fn split(input: &Input, n_parts: u32) -> Vec<Input> {
    let n_parts = i64::from(n_parts);
    let part = |rows: &Tensor, idx: i64| {
        let n_rows = rows.size()[0] / n_parts;
        rows.narrow(0, idx * n_rows, n_rows)
    };
    let input_of = |idx| Input {
        views: input.views.iter().map(|view| part(view, idx)).collect(),
        samples_b: part(&input.samples_b, idx),
    };
    (0..n_parts).map(input_of).collect()
}

/// Puts the parts of a step together: means of scalars, and rows in the order of the undivided batch.
pub(super) fn join(parts: &[Passed], world_size: u32) -> Passed {
    let mean = |scalar: &dyn Fn(&Passed) -> Tensor| {
        Tensor::stack(&parts.iter().map(scalar).collect::<Vec<_>>(), 0).mean(None)
    };
    let metrics = parts[0].metrics.iter().enumerate();
    let first_row = parts.len() as i64 * parts[0].gathered.first_row;
    let samples: Vec<&Tensor> = parts.iter().map(|part| &part.gathered.samples_n).collect();
    Passed {
        loss: mean(&|part| part.loss.shallow_clone()),
        metrics: metrics
            .map(|(i, (name, _))| (*name, mean(&|part| part.metrics[i].1.shallow_clone())))
            .collect(),
        local: Embeddings {
            queries: join_each(parts, 1, |part| &part.local.queries),
            keys: join_each(parts, 1, |part| &part.local.keys),
        },
        gathered: Gathered {
            queries: join_each(parts, world_size, |part| &part.gathered.queries),
            keys: join_each(parts, world_size, |part| &part.gathered.keys),
            samples_n: join_rows(&samples, world_size),
            first_row,
        },
    }
}

fn join_each(parts: &[Passed], n_ranks: u32, of: impl Fn(&Passed) -> &Vec<Tensor>) -> Vec<Tensor> {
    let n_lists = of(&parts[0]).len();
    let rows = |i: usize| parts.iter().map(|part| &of(part)[i]).collect::<Vec<_>>();
    (0..n_lists).map(|i| join_rows(&rows(i), n_ranks)).collect()
}

/// Each part holds rows of all ranks, rank by rank; so does the whole.
fn join_rows(parts: &[&Tensor], n_ranks: u32) -> Tensor {
    let by_part: Vec<Vec<Tensor>> = parts.iter().map(|rows| rows.chunk(n_ranks.into(), 0)).collect();
    let by_rank = (0..n_ranks as usize).flat_map(|rank| by_part.iter().map(move |part| &part[rank]));
    Tensor::cat(&by_rank.collect::<Vec<_>>(), 0)
}

fn detached(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::detach).collect()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// Two ranks of four images, whose rows are their numbers.
    fn passed(part: i64) -> Passed {
        let rows = |ids: &[i64]| Tensor::from_slice(ids).to_kind(Kind::Float).view([-1, 1]);
        let (first, second) = (2 * part, 4 + 2 * part);
        let all = [first, first + 1, second, second + 1];
        Passed {
            loss: Tensor::from(part as f32),
            metrics: vec![("twice", Tensor::from(2.0 * part as f32))],
            local: Embeddings { queries: vec![], keys: vec![rows(&all[2..])] },
            gathered: Gathered {
                queries: vec![],
                keys: vec![rows(&all)],
                samples_n: Tensor::from_slice(&all),
                first_row: 2,
            },
        }
    }

    #[test]
    fn parts_join_in_the_order_of_the_undivided_batch() {
        let whole = join(&[passed(0), passed(1)], 2);
        assert_eq!(
            Vec::<i64>::try_from(&whole.gathered.samples_n).expect("one dimension"),
            [0, 1, 2, 3, 4, 5, 6, 7]
        );
        assert_eq!(
            Vec::<f32>::try_from(whole.gathered.keys[0].view([-1])).expect("one dimension"),
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
        );
        assert_eq!(
            Vec::<f32>::try_from(whole.local.keys[0].view([-1])).expect("one dimension"),
            [4.0, 5.0, 6.0, 7.0]
        );
        assert_eq!(whole.gathered.first_row, 4);
        assert_eq!(whole.loss.double_value(&[]), 0.5);
        assert_eq!(whole.metrics[0].1.double_value(&[]), 1.0);
    }

    #[test]
    fn a_view_of_several_rows_an_image_is_cut_between_images() {
        let input = Input {
            views: vec![Tensor::arange(12, (Kind::Float, Device::Cpu)).view([12, 1])],
            samples_b: Tensor::arange(4, (Kind::Int64, Device::Cpu)),
        };
        let parts = split(&input, 2);
        assert_eq!(parts[1].views[0].double_value(&[0, 0]), 6.0);
        assert_eq!(Vec::<i64>::try_from(&parts[1].samples_b).expect("one dimension"), [2, 3]);
    }
}
