//! The memory bank: one row for each training image, the same on every rank.
//!
//! Shapes: n training images, D embedding, N global batch.

use tch::{Tensor, no_grad};

use crate::nn::normalize;

/// A moving average of each image's embeddings. It stays the same on every rank because every rank writes the same
/// gathered batch.
pub struct Bank {
    rows_nd: Tensor,
    momentum: f64,
}

impl Bank {
    /// Makes a bank that holds these rows; `momentum` is the share of a row that stays when its image is seen again.
    pub fn new(rows_nd: Tensor, momentum: f64) -> Bank {
        Bank { rows_nd: rows_nd.detach(), momentum }
    }

    /// Returns the rows, `[n, D]`.
    pub fn rows(&self) -> &Tensor {
        &self.rows_nd
    }

    /// Moves the rows of a global batch, and brings them back to unit length.
    ///
    /// # Shapes
    /// `samples_n` `[N]`, i64, each image once; `embeddings_nd` `[N, D]`.
    pub fn update(&mut self, samples_n: &Tensor, embeddings_nd: &Tensor) {
        no_grad(|| {
            let old_nd = self.rows_nd.index_select(0, samples_n);
            let moved_nd = old_nd * self.momentum + embeddings_nd.detach() * (1.0 - self.momentum);
            let _ = self.rows_nd.index_copy_(0, samples_n, &normalize(&moved_nd));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rows_of_the_batch_move() {
        let mut bank = Bank::new(Tensor::from_slice2(&[[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), 0.5);
        let embeddings = Tensor::from_slice2(&[[0.0, 1.0], [0.0, 1.0]]).set_requires_grad(true);
        bank.update(&Tensor::from_slice(&[2_i64, 0]), &embeddings);
        let half = 0.5_f64.sqrt();
        let norm = (0.3_f64.powi(2) + 0.9_f64.powi(2)).sqrt();
        let want = Tensor::from_slice2(&[[half, half], [0.0, 1.0], [0.3 / norm, 0.9 / norm]]);
        assert!((bank.rows() - want).abs().max().double_value(&[]) < 1e-15);
        assert!(!bank.rows().requires_grad());
    }
}
