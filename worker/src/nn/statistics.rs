//! What embeddings look like, for watching a run: a collapse shows here long before it shows in accuracy.
//!
//! # Source
//! Alignment and uniformity: Wang and Isola (ICML 2020), eq. 1 and 2 with α = 2, t = 2. Effective rank: Roy and
//! Vetterli (EUSIPCO 2007), of the covariance. Standard deviation per dimension: SimSiam (CVPR 2021), §4.1.

use tch::{Kind, Tensor, no_grad};

/// More rows than this are left out: the cost of uniformity is quadratic.
const MAX_ROWS: i64 = 1024;

/// Named statistics of queries and of the keys that belong to them, row by row.
///
/// `alignment` is 0 when each query equals its key; `uniformity` is 0 when all queries are equal and falls as they
/// spread; `effective_rank` counts the directions in use; `embedding_std` is `1 / sqrt(D)` for spread rows.
///
/// # Shapes
/// Both `[B, D]`, rows of unit length, B at least 2.
pub fn describe(queries_bd: &Tensor, keys_bd: &Tensor) -> Vec<(&'static str, f64)> {
    no_grad(|| {
        let n_rows = queries_bd.size()[0].min(MAX_ROWS);
        let rows = |x: &Tensor| x.narrow(0, 0, n_rows).to_device(tch::Device::Cpu).to_kind(Kind::Double);
        let (queries_bd, keys_bd) = (rows(queries_bd), rows(keys_bd));
        vec![
            ("alignment", alignment(&queries_bd, &keys_bd)),
            ("uniformity", uniformity(&queries_bd)),
            ("effective_rank", effective_rank(&queries_bd)),
            (
                "embedding_std",
                queries_bd.std_dim([0_i64].as_slice(), true, false).mean(None).double_value(&[]),
            ),
        ]
    })
}

fn alignment(queries_bd: &Tensor, keys_bd: &Tensor) -> f64 {
    (queries_bd - keys_bd)
        .square()
        .sum_dim_intlist([1_i64].as_slice(), false, None)
        .mean(None)
        .double_value(&[])
}

fn uniformity(rows_bd: &Tensor) -> f64 {
    (rows_bd.pdist(2.0).square() * -2.0).exp().mean(None).log().double_value(&[])
}

fn effective_rank(rows_bd: &Tensor) -> f64 {
    let centred_bd = rows_bd - rows_bd.mean_dim([0_i64].as_slice(), true, None);
    let eigenvalues_d = centred_bd.transpose(0, 1).matmul(&centred_bd).linalg_eigvalsh("L").clamp_min(0.0);
    let shares_d = &eigenvalues_d / eigenvalues_d.sum(None).clamp_min(f64::MIN_POSITIVE);
    let entropy = -shares_d.xlogy(&shares_d).sum(None);
    entropy.exp().double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn value(statistics: &[(&str, f64)], name: &str) -> f64 {
        statistics.iter().find(|(other, _)| *other == name).expect("it is named").1
    }

    #[test]
    fn equal_rows_look_collapsed() {
        let rows = Tensor::ones([8, 4], (Kind::Float, Device::Cpu)) / 2.0;
        let statistics = describe(&rows, &rows);
        for name in ["alignment", "uniformity", "embedding_std"] {
            assert_eq!(value(&statistics, name), 0.0, "{name}");
        }
        assert_eq!(value(&statistics, "effective_rank"), 1.0);
    }

    #[test]
    fn opposite_axes_use_every_direction() {
        let axes = Tensor::eye(4, (Kind::Float, Device::Cpu));
        let rows = Tensor::cat(&[&axes, &-&axes], 0);
        let statistics = describe(&rows, &-&rows);
        assert!((value(&statistics, "alignment") - 4.0).abs() < 1e-12);
        assert!((value(&statistics, "effective_rank") - 4.0).abs() < 1e-9);
        // 28 pairs: 4 opposite at squared distance 4, 24 orthogonal at 2.
        let want = ((4.0 * (-8.0_f64).exp() + 24.0 * (-4.0_f64).exp()) / 28.0).ln();
        assert!((value(&statistics, "uniformity") - want).abs() < 1e-12);
    }
}
