//! Who does which rows.

use std::ops::Range;

/// The rows of one rank: equal counts for all, so that results can be gathered; the last ranks' rows may lie
/// beyond the end and are dropped after gathering.
pub(super) struct Share {
    /// Rows per rank.
    pub(super) per_rank: u64,
    /// This rank's rows that exist.
    pub(super) rows: Range<u64>,
}

impl Share {
    /// The rows of `rank` among `world_size` of `n` rows.
    pub(super) fn of(n: u64, rank: u32, world_size: u32) -> Self {
        let per_rank = n.div_ceil(u64::from(world_size));
        let start = (u64::from(rank) * per_rank).min(n);
        Self { per_rank, rows: start..(start + per_rank).min(n) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_cover_all_rows_once_and_in_order(n in 0u64..500, world_size in 1u32..9) {
            let rows: Vec<u64> = (0..world_size).flat_map(|rank| Share::of(n, rank, world_size).rows).collect();
            prop_assert_eq!(rows, (0..n).collect::<Vec<_>>());
        }
    }
}
