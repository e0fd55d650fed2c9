//! Rows that all ranks hold, shared out for work on them.
//!
//! Shapes: B rows of a rank, N rows of all, D columns.

use tch::Tensor;

use super::{Collective, Error};

/// A rank's rows of what all ranks hold.
pub struct Share {
    /// Its own rows, `[B, D]`.
    pub rows_bd: Tensor,
    /// Rows of each rank but the last ones, which may have fewer.
    per_rank: i64,
    n_all: i64,
}

impl Share {
    /// The rank's part of `[N, D]`: consecutive rows, as many on every rank but the last ones.
    pub fn of(rows_nd: &Tensor, ranks: &Collective) -> Self {
        let n_all = rows_nd.size()[0];
        let per_rank = (n_all as u64).div_ceil(ranks.world_size().into()) as i64;
        let first = (per_rank * i64::from(ranks.rank())).min(n_all);
        let rows_bd = rows_nd.narrow(0, first, per_rank.min(n_all - first));
        Self { rows_bd, per_rank, n_all }
    }

    /// A value of each row, `[B]`, for all of them, `[N]`.
    ///
    /// # Errors
    /// When a peer is lost.
    pub fn gather(&self, values_b: &Tensor, ranks: &Collective) -> Result<Tensor, Error> {
        let padding = self.per_rank - values_b.size()[0];
        let gathered = ranks.gather(&values_b.constant_pad_nd([0, padding]))?;
        Ok(gathered.narrow(0, 0, self.n_all))
    }
}
