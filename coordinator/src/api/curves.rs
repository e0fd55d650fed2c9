//! `ListCurves`: series in as many buckets as can be drawn.

use kindred_proto::{failure::Failure, ids::JobId, v1};

use crate::engine::{CurveQuery, Curves, Handle};

/// Most series of one answer: with the most buckets of each it stays below what gRPC clients take.
const MOST_SERIES: usize = 64;
const DEFAULT_BUCKETS: u32 = 400;
const MOST_BUCKETS: u32 = 1000;

/// Answers one call.
pub async fn list(
    handle: &Handle,
    request: v1::ListCurvesRequest,
) -> Result<v1::ListCurvesResponse, Failure> {
    let v1::ListCurvesRequest { job_id, series, after_step, until_step, max_buckets } = request;
    let max_buckets = match max_buckets {
        0 => DEFAULT_BUCKETS,
        wanted => wanted.min(MOST_BUCKETS),
    };
    let query = CurveQuery {
        series,
        spans: vec![],
        after_step,
        until_step: (until_step > 0).then_some(until_step),
        max_buckets: max_buckets.into(),
        most_series: MOST_SERIES,
    };
    let Curves { curves, series } = handle.list_curves(&JobId::new(job_id), query).await?;
    Ok(v1::ListCurvesResponse { curves, series })
}
