//! The stream to the coordinator: connects, hands out orders, and connects again for ever.
//!
//! The link knows nothing of what reports say. At each new stream it hands the agent a sender for reports; when the
//! stream is over it says so and tries again, waiting longer each time up to a bound.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    str::FromStr,
    time::Duration,
};

use kindred_proto::{
    ids::NodeId,
    v1::{self, agent_service_client::AgentServiceClient},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use crate::{config::ANSWER_TIMEOUT, route::Route};

/// Reports that may wait on the stream; more would only be older.
const REPORTS_IN_FLIGHT: usize = 2;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The same trouble is logged again after so long.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Where a coordinator listens: `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator(String);

impl FromStr for Coordinator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let is_good = |(host, port): (&str, &str)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        };
        if !bare.rsplit_once(':').is_some_and(is_good) {
            return Err("not of the form host:port".to_owned());
        }
        Ok(Self(bare.to_owned()))
    }
}

impl fmt::Display for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Coordinator {
    /// How to connect: with a limit on the attempt, and pings so that a vanished host is noticed.
    pub fn endpoint(&self) -> Result<Endpoint, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{self}"))?;
        Ok(endpoint
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true))
    }
}

/// What the link tells the agent.
#[derive(Debug)]
pub enum Event {
    /// A stream opens. Its first report is expected at once.
    Up {
        /// Takes the reports of this stream.
        reports: mpsc::Sender<v1::AgentReport>,
        /// This node's address on the route to the coordinator.
        local_address: IpAddr,
    },
    /// What should be.
    Orders(Box<v1::AgentOrders>),
    /// The stream is over.
    Down,
}

/// Why a stream could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot find the address: {0}")]
    Lookup(std::io::Error),
    #[error("cannot connect: {}", innermost(.0))]
    Connect(#[from] tonic::transport::Error),
    #[error("no answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("a gRPC server answers there, but it is not a Kindred coordinator: {0}")]
    OtherService(String),
    #[error("the server there does not answer as gRPC (is it the right port?): {0}")]
    OtherProtocol(String),
    #[error("the coordinator refused the stream: {0}")]
    Refused(String),
    #[error("the stream ended: {0}")]
    Ended(String),
    #[error("the coordinator closed the stream")]
    Closed,
}

/// Keeps a node's stream open for ever, with pauses between attempts. Ends only when nobody listens to `events`.
///
/// Cancel safety: dropping the future closes the stream.
pub async fn run(route: Route, node_id: NodeId, events: mpsc::Sender<Event>) {
    let coordinator = &route.coordinator;
    let mut pause = FIRST_PAUSE;
    let mut n_pauses = 0;
    let mut warned: Option<(String, Instant)> = None;
    while !events.is_closed() {
        let mut is_answered = false;
        let trouble = match stream(&route, &events, &mut is_answered).await {
            Err(trouble) => trouble.to_string(),
            Ok(()) => return,
        };
        if events.send(Event::Down).await.is_err() {
            return;
        }
        if is_answered {
            pause = FIRST_PAUSE;
            warned = None;
        }
        if warned.as_ref().is_none_or(|(text, at)| *text != trouble || at.elapsed() > WARN_AGAIN_AFTER) {
            tracing::warn!(%coordinator, error = %trouble, "no stream to the coordinator; trying again");
            warned = Some((trouble, Instant::now()));
        }
        n_pauses += 1;
        sleep(jittered(pause, &node_id, n_pauses)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One stream, from connecting to its end; `Ok` when nobody listens any more.
async fn stream(route: &Route, events: &mpsc::Sender<Event>, is_answered: &mut bool) -> Result<(), Trouble> {
    let local_address = route.local_address().await.map_err(Trouble::Lookup)?;
    let channel = route.connect().await?;
    let (reports, outgoing) = mpsc::channel(REPORTS_IN_FLIGHT);
    if events.send(Event::Up { reports, local_address }).await.is_err() {
        return Ok(());
    }
    let mut client = AgentServiceClient::new(channel);
    let answer = timeout(ANSWER_TIMEOUT, client.connect(ReceiverStream::new(outgoing)));
    let answered = answer.await.map_err(|_| Trouble::Silent(ANSWER_TIMEOUT))?;
    let (mut incoming, mut patience) = (answered.map_err(not_opened)?.into_inner(), ANSWER_TIMEOUT);
    loop {
        let message = timeout(patience, incoming.message()).await.map_err(|_| Trouble::Silent(patience))?;
        let orders = message.map_err(ended)?.ok_or(Trouble::Closed)?;
        if orders.lease_ms > 0 {
            patience = Duration::from_millis(orders.lease_ms.into());
        }
        if !*is_answered {
            tracing::info!(coordinator = %route.coordinator, "connected to the coordinator");
            *is_answered = true;
        }
        if events.send(Event::Orders(Box::new(orders))).await.is_err() {
            return Ok(());
        }
    }
}

/// What it means that a stream could not be opened though a server was there. A status that the server itself sent
/// has no cause on this side; anything else did not come from gRPC.
fn not_opened(status: tonic::Status) -> Trouble {
    match (status.code(), std::error::Error::source(&status)) {
        (tonic::Code::Unimplemented, _) => Trouble::OtherService(status.message().to_owned()),
        (_, Some(cause)) => Trouble::OtherProtocol(innermost(cause)),
        (_, None) => Trouble::Refused(status.message().to_owned()),
    }
}

/// What it means that an open stream ended with a status.
fn ended(status: tonic::Status) -> Trouble {
    Trouble::Ended(std::error::Error::source(&status).map_or_else(|| status.message().to_owned(), innermost))
}

/// The text of the last cause in a chain of errors.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Between half of the pause and the whole of it, so that agents do not come back all at once: each node has its own
/// series of pauses, the same every time.
fn jittered(pause: Duration, node_id: &NodeId, n_pauses: u64) -> Duration {
    let mut hasher = DefaultHasher::new();
    (node_id, n_pauses).hash(&mut hasher);
    let share = f64::from(hasher.finish() as u32) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + 0.5 * share)
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use super::*;
    use crate::host::Machine;

    #[test]
    fn a_coordinator_is_a_host_and_a_port() {
        for good in ["localhost:7700", "10.0.0.1:1", "[::1]:7700", "http://node-a:7700/"] {
            assert!(good.parse::<Coordinator>().is_ok(), "{good}");
        }
        for bad in ["localhost", ":7700", "host:", "host:99999", "https://host:7700", "host/path:7700"] {
            assert!(bad.parse::<Coordinator>().is_err(), "{bad}");
        }
    }

    /// What one attempt to open a stream at this address says.
    async fn trouble_at(address: SocketAddr) -> String {
        let (events, mut heard) = mpsc::channel(4);
        tokio::spawn(async move { while heard.recv().await.is_some() {} });
        let route = Route { coordinator: Coordinator(address.to_string()), host: Arc::new(Machine) };
        stream(&route, &events, &mut false).await.expect_err("no coordinator there").to_string()
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("is bound");
        drop(listener);
        let text = trouble_at(address).await;
        assert!(text.contains("cannot connect") && text.contains("refused"), "{text}");
    }

    #[tokio::test]
    async fn a_web_server_is_told_from_a_coordinator() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("is bound");
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
                let _ = tokio::io::AsyncWriteExt::write_all(&mut client, answer).await;
            }
        });
        let text = trouble_at(address).await;
        assert!(text.contains("does not answer as gRPC"), "{text}");
    }

    #[test]
    fn another_grpc_service_is_told_from_a_coordinator() {
        let text = not_opened(tonic::Status::unimplemented("unknown service")).to_string();
        assert!(text.contains("not a Kindred coordinator"), "{text}");
    }

    #[test]
    fn pauses_vary_within_their_bounds() {
        let pauses = |node: &str| -> Vec<Duration> {
            (0..100).map(|n_pauses| jittered(LONGEST_PAUSE, &node.into(), n_pauses)).collect()
        };
        for pause in pauses("node-a") {
            assert!((LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(&pause), "{pause:?}");
        }
        assert_ne!(pauses("node-a"), pauses("node-b"));
    }
}
