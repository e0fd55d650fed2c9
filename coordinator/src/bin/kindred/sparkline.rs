//! A curve in one line of text.

use kindred_proto::v1;

use crate::client::Client;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One bar for each value, from the least to the most; values that are no numbers are gaps.
pub fn sparkline(values: &[f64]) -> String {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let least = finite().fold(f64::INFINITY, f64::min);
    let most = finite().fold(f64::NEG_INFINITY, f64::max);
    let bar = |value: &f64| {
        if !value.is_finite() {
            return ' ';
        }
        let share = if most > least { (value - least) / (most - least) } else { 0.5 };
        // From 0 to 7: a share of one is the last bar.
        BARS[((share * BARS.len() as f64) as usize).min(BARS.len() - 1)]
    };
    values.iter().map(bar).collect()
}

/// A job's whole series in so many values at most; none where nothing is known of it.
pub async fn curve(client: &Client, job_id: &str, series: &str, width: u32) -> Option<Vec<f64>> {
    let (job_id, series) = (job_id.to_owned(), vec![series.to_owned()]);
    let request = v1::ListCurvesRequest { job_id, series, max_buckets: width, ..Default::default() };
    // A curve is an ornament: what fails is said where the job is read.
    let answer = client.jobs().list_curves(request).await.ok()?.into_inner();
    let curve = answer.curves.into_iter().next()?;
    Some(curve.buckets.iter().map(|bucket| bucket.mean.unwrap_or(f64::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_the_lowest_bar_and_the_most_the_highest() {
        assert_eq!(sparkline(&[1.0, 8.0, 4.5]), "▁█▅");
        assert_eq!(sparkline(&[3.0, 3.0]), "▅▅");
        assert_eq!(sparkline(&[1.0, f64::NAN, 2.0]), "▁ █");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[f64::INFINITY]), " ");
    }
}
