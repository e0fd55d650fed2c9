//! Weighted sums of rows: the inner loop of blur and resize.

/// Sums one row per weight into `output`: strip by strip, each in registers.
#[inline(always)]
pub(super) fn weigh<'a>(weights: &[f32], row: impl Fn(usize) -> &'a [f32], output: &mut [f32]) {
    let start = weigh_strips::<64>(weights, &row, output, 0);
    let start = weigh_strips::<16>(weights, &row, output, start);
    let start = weigh_strips::<4>(weights, &row, output, start);
    weigh_strips::<1>(weights, &row, output, start);
}

/// Fills strips of `LANES` values from `start` on, as far as they fit; gives the end of the last.
#[inline(always)]
fn weigh_strips<'a, const LANES: usize>(
    weights: &[f32],
    row: &impl Fn(usize) -> &'a [f32],
    output: &mut [f32],
    mut start: usize,
) -> usize {
    while let Some(output) = output[start..].first_chunk_mut::<LANES>() {
        let mut sums = [0.0; LANES];
        for (idx, weight) in weights.iter().enumerate() {
            let values: &[f32; LANES] =
                row(idx)[start..].first_chunk().expect("rows are as long as the output");
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight * value;
            }
        }
        *output = sums;
        start += LANES;
    }
    start
}
