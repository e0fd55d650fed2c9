//! `EventService`: what became of jobs and nodes.

use kindred_proto::{
    failure::Failure,
    v1::{self, event_service_server::EventService},
};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait, codegen::BoxStream};

use super::{
    answer,
    page::{self, Bounds, Pages},
    refuse, streams,
};
use crate::{
    access::Caller,
    engine::{EventQuery, Handle},
};

const EVENTS: Bounds = Bounds { default: 100, most: 1000 };

/// The service, over the engine's handle.
pub struct EventsApi {
    /// The engine.
    pub handle: Handle,
    /// Ends the streams.
    pub shutdown: CancellationToken,
}

#[async_trait]
impl EventService for EventsApi {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = Caller::of(&request);
        answer(async { self.list(&caller, &request.into_inner()) }).await
    }

    type WatchEventsStream = BoxStream<v1::WatchEventsResponse>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let caller = Caller::of(&request);
        let v1::WatchEventsRequest { job_id, node_id, after_number } = request.into_inner();
        let query = query(&caller, job_id, node_id);
        let pages = self.handle.events().watch(query, after_number).map_err(refuse)?;
        let answers = pages.map(|page| {
            page.map(|page| v1::WatchEventsResponse { events: page.events, resume_marker: page.marker })
        });
        Ok(Response::new(streams::until(self.shutdown.clone(), answers)))
    }
}

impl EventsApi {
    fn list(
        &self,
        caller: &Caller,
        request: &v1::ListEventsRequest,
    ) -> Result<v1::ListEventsResponse, Failure> {
        let listing = (&request.job_id, &request.node_id, request.after_number, &caller.projects);
        let pages = Pages::new("events", (listing, request.tail), request.page_size, EVENTS);
        let (query, reader) =
            (query(caller, request.job_id.clone(), request.node_id.clone()), self.handle.events());
        let given = (request.after_number > 0).then_some(request.after_number);
        let after = match pages.cursor(&request.page_token)? {
            Some(cursor) => Some(cursor.parse().map_err(|_| page::invalid())?),
            None if request.tail > 0 => given.max(reader.before_last(&query, request.tail as usize)),
            None => given,
        };
        let page = reader.page(&query, after, pages.limit)?;
        let next = page.has_more.then(|| page.marker.to_string());
        Ok(v1::ListEventsResponse {
            events: page.events,
            next_page_token: pages.token(next.as_deref()),
            resume_marker: page.marker,
        })
    }
}

/// What a caller with projects of its own may see: the jobs of those.
fn query(caller: &Caller, job_id: String, node_id: String) -> EventQuery {
    EventQuery { job_id, node_id, projects: caller.projects.clone() }
}
