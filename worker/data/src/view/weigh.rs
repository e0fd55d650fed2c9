//! Weighted sums of rows: the inner loop of blur and resize.

/// Sums one row per weight into `output`: strip by strip, each in registers.
pub(super) fn weigh<'a, T: Copy + Into<f32> + 'a>(
    weights: &[f32],
    row: impl Fn(usize) -> &'a [T],
    output: &mut [f32],
) {
    let start = weigh_strips::<32, T>(weights, &row, output, 0);
    let start = weigh_strips::<8, T>(weights, &row, output, start);
    let start = weigh_strips::<4, T>(weights, &row, output, start);
    weigh_strips::<1, T>(weights, &row, output, start);
}

/// Fills strips of `LANES` values from `start` on, as far as they fit; gives the end of the last.
fn weigh_strips<'a, const LANES: usize, T: Copy + Into<f32> + 'a>(
    weights: &[f32],
    row: &impl Fn(usize) -> &'a [T],
    output: &mut [f32],
    mut start: usize,
) -> usize {
    while let Some(output) = output[start..].first_chunk_mut::<LANES>() {
        let mut sums = [0.0; LANES];
        for (idx, weight) in weights.iter().enumerate() {
            let values: &[T; LANES] =
                row(idx)[start..].first_chunk().expect("rows are as long as the output");
            sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * value.into());
        }
        *output = sums;
        start += LANES;
    }
    start
}
