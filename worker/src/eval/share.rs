//! Who does which rows.

use std::ops::Range;

/// Rows that are computed at once. Chunks are the same ones at any number of ranks, and with them the bits of what is
/// computed of each.
pub(super) const CHUNK: u64 = 250;

/// The rows of one rank, in whole chunks: equal counts for all, so that results can be gathered; the last ranks' rows
/// may lie beyond the end and are dropped after gathering.
pub(super) struct Share {
    /// Rows per rank.
    pub(super) per_rank: u64,
    /// This rank's rows that exist.
    pub(super) rows: Range<u64>,
}

impl Share {
    /// The rows of `rank` among `world_size` of `n` rows.
    pub(super) fn of(n: u64, rank: u32, world_size: u32) -> Self {
        let per_rank = n.div_ceil(CHUNK).div_ceil(u64::from(world_size)) * CHUNK;
        let start = (u64::from(rank) * per_rank).min(n);
        Self { per_rank, rows: start..(start + per_rank).min(n) }
    }

    /// Its chunks, as many on every rank; those beyond the end are empty.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Range<u64>> {
        let rows = self.rows.clone();
        let starts = (0..self.per_rank).step_by(CHUNK as usize).map(move |start| rows.start + start);
        let end = self.rows.end;
        starts.map(move |start| start.min(end)..(start + CHUNK).min(end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_cover_all_rows_once_and_in_the_same_chunks(n in 0u64..5000, world_size in 1u32..9) {
            let chunks_of = |world_size: u32| -> Vec<Range<u64>> {
                let shares = (0..world_size).map(|rank| Share::of(n, rank, world_size));
                shares.flat_map(|share| share.chunks().collect::<Vec<_>>()).filter(|chunk| !chunk.is_empty()).collect()
            };
            let chunks = chunks_of(world_size);
            prop_assert_eq!(&chunks, &chunks_of(1));
            prop_assert_eq!(chunks.into_iter().flatten().collect::<Vec<_>>(), (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn every_rank_has_as_many_chunks(n in 0u64..5000, world_size in 1u32..9) {
            let n_chunks = |rank| Share::of(n, rank, world_size).chunks().count();
            prop_assert!((0..world_size).all(|rank| n_chunks(rank) == n_chunks(0)));
        }
    }
}
