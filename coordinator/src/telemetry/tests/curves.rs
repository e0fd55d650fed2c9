//! Series in buckets, held against a slow oracle.

use super::*;

/// As many points as a case may have; several cases have more points than buckets.
const MOST_POINTS: usize = 300;

/// Random points of two generations, read in random buckets.
struct Case {
    job_id: JobId,
    points: Vec<(&'static str, u64, u64, f64)>,
    query: CurveQuery,
}

impl Case {
    fn random(rng: &mut fastrand::Rng, number: usize) -> Self {
        let value = |rng: &mut fastrand::Rng| match rng.u8(..20) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            _ => rng.f64() * 20.0 - 10.0,
        };
        let last = rng.u64(1..2_000);
        let n_points = rng.usize(1..MOST_POINTS);
        let points = (0..n_points)
            .map(|_| (["loss", "lr"][rng.usize(..2)], rng.u64(..=last), rng.u64(1..=2), value(rng)))
            .collect();
        let cut = rng.u64(..=last);
        let span = |generation, first, last: Option<u64>| Span {
            generation: Generation(generation),
            first: Step(first),
            last: last.map(Step),
        };
        let query = CurveQuery {
            series: if rng.bool() { vec!["loss".to_owned()] } else { vec![] },
            spans: match rng.u8(..3) {
                0 => vec![],
                1 => vec![span(1, 0, None)],
                _ => vec![span(1, 0, Some(cut)), span(2, cut, None)],
            },
            after_step: if rng.bool() { rng.u64(..=last) } else { 0 },
            until_step: rng.bool().then(|| rng.u64(1..=last)),
            max_buckets: rng.u64(1..60),
            most_series: 10,
        };
        Self { job_id: JobId::new(format!("job-{number}")), points, query }
    }

    /// What counts of a series in the steps that are asked for.
    async fn counting(&self, telemetry: &Telemetry, series: &str) -> Vec<v1::MetricPoint> {
        let CurveQuery { spans, after_step, until_step, .. } = self.query.clone();
        let query =
            MetricQuery { series: vec![series.to_owned()], spans, limit: 10_000, ..MetricQuery::default() };
        let page = telemetry.points(&self.job_id, &query).await.expect("they can be read");
        let is_asked_for =
            |step| (after_step == 0 || step > after_step) && until_step.is_none_or(|until| step <= until);
        page.points.into_iter().filter(|point| is_asked_for(point.step)).collect()
    }
}

pub(super) async fn curves_hold_each_point_once_with_the_extremes(telemetry: &Telemetry) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for number in 0..60 {
        let case = Case::random(&mut rng, number);
        let job_id = case.job_id.to_string();
        let batch = v1::TelemetryBatch { job_id, ..points(number as u64 + 1, &case.points) };
        store(telemetry, "a", &[batch]).await;
        let read = telemetry.curves(&case.job_id, &case.query).await.expect("they can be read");
        let mut names: Vec<_> = case.points.iter().map(|point| point.0.to_owned()).collect();
        names.sort();
        names.dedup();
        assert_eq!(read.series, names, "all names, whatever is asked for");
        names.retain(|name| case.query.series.is_empty() || case.query.series.contains(name));
        assert_eq!(read.curves.iter().map(|curve| curve.series.clone()).collect::<Vec<_>>(), names);
        for curve in read.curves {
            let counting = case.counting(telemetry, &curve.series).await;
            assert_eq!(curve.buckets.is_empty(), counting.is_empty());
            assert!(curve.buckets.len() as u64 <= case.query.max_buckets, "case {number}");
            check(&curve.buckets, &counting);
        }
    }
}

/// Each point lies in the bucket whose steps hold it; the bucket's figures are those of its points.
fn check(buckets: &[v1::CurveBucket], points: &[v1::MetricPoint]) {
    assert!(buckets.windows(2).all(|pair| pair[0].last_step < pair[1].first_step), "in order, and apart");
    assert_eq!(buckets.iter().map(|bucket| bucket.n_points).sum::<u64>(), points.len() as u64);
    for bucket in buckets {
        let steps = bucket.first_step..=bucket.last_step;
        let own: Vec<_> = points.iter().filter(|point| steps.contains(&point.step)).collect();
        let finite: Vec<f64> =
            own.iter().map(|point| point.value).filter(|value| value.is_finite()).collect();
        assert_eq!(bucket.n_points, own.len() as u64);
        assert_eq!(bucket.n_not_finite, (own.len() - finite.len()) as u64);
        assert_eq!(bucket.first_step, own[0].step, "it begins with a point");
        assert_eq!(bucket.last_step, own[own.len() - 1].step, "and ends with one");
        assert_eq!(bucket.least, finite.iter().copied().reduce(f64::min));
        assert_eq!(bucket.most, finite.iter().copied().reduce(f64::max));
        let mean = (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64);
        let distance = bucket.mean.zip(mean).map_or(0.0, |(mean, oracle)| (mean - oracle).abs());
        assert!(bucket.mean.is_some() == mean.is_some() && distance < 1e-9, "{bucket:?} {mean:?}");
    }
}

pub(super) async fn curves_of_no_points_and_of_other_steps_are_empty(telemetry: &Telemetry) {
    let query = CurveQuery { max_buckets: 10, most_series: 10, ..CurveQuery::default() };
    let read = telemetry.curves(&job(), &query).await.expect("nothing to read");
    assert_eq!((read.curves, read.series), (vec![], vec![]));
    store(telemetry, "a", &[points(1, &[("loss", 0, 1, 2.0), ("loss", 7, 1, 1.0)])]).await;
    let read = telemetry.curves(&job(), &query).await.expect("they can be read");
    assert_eq!(read.curves[0].buckets.len(), 2, "the point before the first step is one");
    let later = CurveQuery { after_step: 7, ..query };
    let read = telemetry.curves(&job(), &later).await.expect("nothing to read");
    assert_eq!(read.curves[0].buckets, vec![]);
}
