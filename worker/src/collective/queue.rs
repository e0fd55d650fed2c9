//! The queue of negatives: a ring of keys from recent batches, the same on every rank.
//!
//! Shapes: K queue, D embedding, N global batch.

use tch::{Kind, Tensor, no_grad};

/// A ring of keys. It stays the same on every rank because every rank writes the same gathered batch.
pub struct Queue {
    keys_kd: Tensor,
    /// The row that is written next, as a tensor on the CPU so that a checkpoint carries it: `[1]`.
    pointer: Tensor,
}

impl Queue {
    /// Makes a queue that holds these keys, the first of which is overwritten first.
    ///
    /// # Shapes
    /// `[K, D]`, with `K` at least one.
    pub fn new(keys_kd: Tensor) -> Queue {
        Queue { keys_kd: keys_kd.detach(), pointer: Tensor::from_slice(&[0_i64]) }
    }

    /// Returns the keys, `[K, D]`, in the order of their rows, not of their age.
    pub fn keys(&self) -> &Tensor {
        &self.keys_kd
    }

    /// Writes a global batch over the oldest keys.
    ///
    /// # Shapes
    /// `[N, D]`; of more than `K` rows, the last `K` stay.
    pub fn enqueue(&mut self, keys_nd: &Tensor) {
        let (len, n_new) = (self.keys_kd.size()[0], keys_nd.size()[0]);
        let start = self.pointer.int64_value(&[0]);
        let n_kept = n_new.min(len);
        let first = (start + n_new - n_kept) % len;
        let n_before_end = n_kept.min(len - first);
        let kept_nd = keys_nd.detach().narrow(0, n_new - n_kept, n_kept);
        no_grad(|| {
            self.keys_kd.narrow(0, first, n_before_end).copy_(&kept_nd.narrow(0, 0, n_before_end));
            let n_wrapped = n_kept - n_before_end;
            self.keys_kd.narrow(0, 0, n_wrapped).copy_(&kept_nd.narrow(0, n_before_end, n_wrapped));
        });
        let _ = self.pointer.fill_((start + n_new) % len);
    }

    /// Returns handles of what a checkpoint must carry: loading copies into them.
    pub fn state(&self) -> [(&'static str, Tensor); 2] {
        debug_assert_eq!(self.pointer.kind(), Kind::Int64);
        [("keys", self.keys_kd.shallow_clone()), ("pointer", self.pointer.shallow_clone())]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Device;

    use super::*;

    /// The ring, one row at a time.
    struct Naive {
        rows: Vec<f32>,
        pointer: usize,
    }

    impl Naive {
        fn enqueue(&mut self, rows: &[f32]) {
            for row in rows {
                self.rows[self.pointer] = *row;
                self.pointer = (self.pointer + 1) % self.rows.len();
            }
        }
    }

    proptest! {
        #[test]
        fn a_queue_is_a_ring_at_any_length_and_batch(
            len in 1_usize..9,
            batches in prop::collection::vec(0_usize..20, 0..12),
        ) {
            let mut naive = Naive { rows: vec![-1.0; len], pointer: 0 };
            let mut queue = Queue::new(Tensor::full([len as i64, 1], -1.0, (Kind::Float, Device::Cpu)));
            let mut next = 0.0;
            for n_rows in batches {
                let rows: Vec<f32> = (0..n_rows).map(|row| next + row as f32).collect();
                next += n_rows as f32;
                naive.enqueue(&rows);
                queue.enqueue(&Tensor::from_slice(&rows).reshape([-1, 1]));
                prop_assert_eq!(queue.keys(), &Tensor::from_slice(&naive.rows).reshape([-1, 1]));
                prop_assert_eq!(queue.state()[1].1.int64_value(&[0]), naive.pointer as i64);
            }
        }
    }

    #[test]
    fn keys_in_use_by_a_graph_carry_no_gradient_into_the_queue() {
        let mut queue = Queue::new(Tensor::zeros([4, 2], (Kind::Float, Device::Cpu)));
        queue.enqueue(&Tensor::ones([3, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true));
        assert!(!queue.keys().requires_grad());
    }
}
