//! Streams of answers: each ends when the coordinator stops, so that no open stream holds up the drain.

use std::{future::Future, time::Duration};

use async_stream::try_stream;
use kindred_proto::failure::Failure;
use tokio::time;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Status, codegen::BoxStream};

use super::{going_down, refuse};

/// A stream that has said nothing for so long says the newest again: proxies cut idle streams, and a client that hears
/// nothing cannot tell a quiet job from a lost link.
const REPEAT_AFTER: Duration = Duration::from_secs(15);

/// Passes items on until the stream or the coordinator ends.
pub fn until<T: Send + 'static>(
    shutdown: CancellationToken,
    items: impl Stream<Item = Result<T, Failure>> + Send + 'static,
) -> BoxStream<T> {
    Box::pin(try_stream! {
        tokio::pin!(items);
        while let Some(item) = next(&shutdown, items.next()).await? {
            yield item.map_err(refuse)?;
        }
    })
}

/// The same for states of which only the newest counts: repeats it when nothing changes.
pub fn newest_until<T: Clone + Send + 'static>(
    shutdown: CancellationToken,
    states: impl Stream<Item = T> + Send + 'static,
) -> BoxStream<T> {
    Box::pin(try_stream! {
        tokio::pin!(states);
        let mut newest: Option<T> = None;
        loop {
            // A timeout is a quiet stream: its newest state is said again.
            if let Ok(state) = time::timeout(REPEAT_AFTER, next(&shutdown, states.next())).await {
                let Some(state) = state? else { break };
                newest = Some(state);
            }
            if let Some(state) = newest.clone() {
                yield state;
            }
        }
    })
}

/// Waits for an item, or fails because the coordinator stops.
pub async fn next<T>(shutdown: &CancellationToken, item: impl Future<Output = T>) -> Result<T, Status> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(going_down().into()),
        item = item => Ok(item),
    }
}
