//! What contrastive objectives share.
//!
//! Shape legend: B local batch, N global batch, D embedding, K queue, C columns.

use tch::{Device, Kind, Reduction, Tensor};

/// Cosine of each row with its own key (column 0), then with every row of the queue; in f32 or f64.
///
/// # Shapes
/// Rows of unit length: `q_bd`, `k_bd`, `queue_kd`; the result is `[B, 1 + K]`.
pub fn cosines(q_bd: &Tensor, k_bd: &Tensor, queue_kd: &Tensor) -> Tensor {
    let own_b1 = row_cosines(q_bd, k_bd).unsqueeze(1);
    let others_bk = q_bd.matmul(&queue_kd.transpose(0, 1)).to_kind(own_b1.kind());
    Tensor::cat(&[own_b1, others_bk], 1)
}

/// Cosine of each row with the row of the same number: `[B, D]` twice, of unit length, to `[B]`.
pub(super) fn row_cosines(a_bd: &Tensor, b_bd: &Tensor) -> Tensor {
    (a_bd * b_bd).sum_dim_intlist([1_i64].as_slice(), false, None)
}

/// Mean over the rows of `-log softmax(logits)[label]`.
pub fn cross_entropy(logits_bc: &Tensor, labels_b: &Tensor) -> Tensor {
    logits_bc.cross_entropy_loss(labels_b, None::<&Tensor>, Reduction::Mean, -100, 0.0)
}

/// The column of each local row among gathered ones: `first`, `first + 1`, …, `[B]`.
pub(super) fn own_columns(rows_bd: &Tensor, first: i64) -> Tensor {
    Tensor::arange_start(first, first + rows_bd.size()[0], (Kind::Int64, rows_bd.device()))
}

/// Mean cosine of queries with their own keys, given [`cosines`].
pub(super) fn positive_cosine(cosines_bc: &Tensor) -> Tensor {
    cosines_bc.detach().select(1, 0).mean(None)
}

/// Mean cosine of queries with their own keys, row by row.
pub(super) fn mean_cosine(q_bd: &Tensor, k_bd: &Tensor) -> Tensor {
    row_cosines(&q_bd.detach(), k_bd).mean(None)
}

/// Which column is a row's own, where the first of them are the keys of all ranks: row `i` owns column `first + i`.
///
/// # Shapes
/// `[B, C]`, bool.
pub fn own_mask((n_rows, n_columns): (i64, i64), first: i64, device: Device) -> Tensor {
    let columns_1c = Tensor::arange(n_columns, (Kind::Int64, device)).unsqueeze(0);
    let own_b1 = (Tensor::arange(n_rows, (Kind::Int64, device)) + first).unsqueeze(1);
    columns_1c.eq_tensor(&own_b1)
}

/// Log of how rows relate to anchors: a softmax of their cosines.
///
/// # Shapes
/// `rows_bd`, `anchors_kd` to `[B, K]`.
pub fn log_relations(rows_bd: &Tensor, anchors_kd: &Tensor, temperature: f64) -> Tensor {
    (rows_bd.matmul(&anchors_kd.transpose(0, 1)) / temperature).log_softmax(1, None)
}

/// Cross-entropy of a prediction, given its logits, with a target; mean over the rows.
///
/// # Shapes
/// Both `[B, C]`; the result is a scalar.
pub fn soft_cross_entropy(target_bc: &Tensor, logits_bc: &Tensor) -> Tensor {
    mean_of_rows(&-(target_bc * logits_bc.log_softmax(1, None)))
}

/// `KL(target ‖ prediction)`, given the logs of both; mean over the rows.
///
/// # Shapes
/// Both `[B, C]`; the result is a scalar.
pub fn divergence(log_target_bc: &Tensor, log_prediction_bc: &Tensor) -> Tensor {
    mean_of_rows(&(log_target_bc.exp() * (log_target_bc - log_prediction_bc)))
}

/// The sum of each row's terms, mean over the rows.
pub(super) fn mean_of_rows(terms_bc: &Tensor) -> Tensor {
    terms_bc.sum_dim_intlist([1_i64].as_slice(), false, None).mean(None)
}

/// The mean of scalars.
pub(super) fn mean(scalars: &[Tensor]) -> Tensor {
    Tensor::stack(scalars, 0).mean(None)
}
