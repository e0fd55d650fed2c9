//! What contrastive objectives share.

use tch::Tensor;

/// Cosine of each row with its own key (column 0), then with every row of the queue; in f32 or f64.
///
/// # Shapes
/// Rows of unit length: `q_bd`, `k_bd`, `queue_kd`; the result is `[B, 1 + K]`.
pub fn cosines(q_bd: &Tensor, k_bd: &Tensor, queue_kd: &Tensor) -> Tensor {
    let own_b1 = (q_bd * k_bd).sum_dim_intlist([1_i64].as_slice(), true, None);
    let others_bk = q_bd.matmul(&queue_kd.transpose(0, 1)).to_kind(own_b1.kind());
    Tensor::cat(&[own_b1, others_bk], 1)
}

/// Mean cosine of queries with their own keys, given [`cosines`].
pub(super) fn positive_cosine(cosines_bc: &Tensor) -> Tensor {
    cosines_bc.detach().select(1, 0).mean(None)
}
