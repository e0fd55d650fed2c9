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
    failure::{self, Failure, Reason},
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
const LONGEST_PAUSE_OF_SEVERAL: Duration = Duration::from_secs(1);

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

/// Where coordinators listen, one or several: `host:port,host:port`. One of them leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinators(Vec<Coordinator>);

impl FromStr for Coordinators {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|each| each.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Coordinators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, coordinator) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{coordinator}")?;
        }
        Ok(())
    }
}

impl Coordinators {
    /// The one to ask first.
    pub fn first(&self) -> &Coordinator {
        self.0.first().expect("splitting a text gives one part at least")
    }

    /// The one to ask when `asked` does not answer; the first one where `asked` is none of them.
    fn after(&self, asked: &Coordinator) -> &Coordinator {
        let place = self.0.iter().position(|each| each == asked);
        place.and_then(|place| self.0.get(place + 1)).unwrap_or(self.first())
    }

    /// How long pauses between attempts become: where another one takes over within seconds, it is looked for sooner.
    fn longest_pause(&self) -> Duration {
        if self.0.len() > 1 { LONGEST_PAUSE_OF_SEVERAL } else { LONGEST_PAUSE }
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
    #[error("{0}")]
    NotLeader(Failure),
    #[error("the coordinator refused the stream: {0}")]
    Refused(String),
    #[error("the stream ended: {0}")]
    Ended(String),
    #[error("the coordinator closed the stream")]
    Closed,
}

/// Keeps a node's stream open for ever, with pauses between attempts, at whichever coordinator leads. Ends only when nobody
/// listens to `events`.
///
/// Cancel safety: dropping the future closes the stream.
pub async fn run(route: Route, node_id: NodeId, events: mpsc::Sender<Event>) {
    let longest_pause = route.coordinators.longest_pause();
    let mut pause = FIRST_PAUSE;
    let mut n_pauses = 0;
    let mut warned: Option<(String, Instant)> = None;
    while !events.is_closed() {
        let mut is_answered = false;
        let trouble = match stream(&route, &events, &mut is_answered).await {
            Err(trouble) => trouble,
            Ok(()) => return,
        };
        if events.send(Event::Down).await.is_err() {
            return;
        }
        if is_answered {
            pause = FIRST_PAUSE;
            warned = None;
        }
        let coordinator = route.asked();
        let text = trouble.to_string();
        let next = next(&route.coordinators, &coordinator, &trouble);
        if matches!(&trouble, Trouble::NotLeader(failure) if failure.leader().is_some()) {
            tracing::info!(%coordinator, leader = %next, "another coordinator leads");
        } else if warned.as_ref().is_none_or(|(told, at)| *told != text || at.elapsed() > WARN_AGAIN_AFTER) {
            tracing::warn!(%coordinator, error = %text, "no stream to the coordinator; trying again");
            warned = Some((text, Instant::now()));
        }
        route.ask(next);
        n_pauses += 1;
        sleep(jittered(pause, &node_id, n_pauses)).await;
        pause = (pause * 2).min(longest_pause);
    }
}

/// Whom to ask after `asked` has not opened a stream: the leader that it names, otherwise the next in the list.
fn next(coordinators: &Coordinators, asked: &Coordinator, trouble: &Trouble) -> Coordinator {
    let named = match trouble {
        Trouble::NotLeader(failure) => failure.leader().and_then(|leader| leader.parse().ok()),
        _ => None,
    };
    named.unwrap_or_else(|| coordinators.after(asked).clone())
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
            tracing::info!(coordinator = %route.asked(), "connected to the coordinator");
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
    let failure = failure::from_status(&status);
    if failure.reason == Reason::NotLeader {
        return Trouble::NotLeader(failure);
    }
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
        let coordinators = address.to_string().parse().expect("an address");
        let route = Route::new(coordinators, Arc::new(Machine));
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
    fn the_leader_is_asked_next_and_without_one_the_next_in_the_list() {
        let several: Coordinators = "a:1, b:2,c:3".parse().expect("addresses");
        assert!("a:1,b".parse::<Coordinators>().is_err());
        let at = |text: &str| text.parse::<Coordinator>().expect("an address");
        let follower = |leader| not_opened(Failure::not_leader(leader).into());
        assert_eq!(next(&several, &at("a:1"), &follower(Some("c:3"))), at("c:3"));
        assert_eq!(
            next(&several, &at("a:1"), &follower(Some("d:4"))),
            at("d:4"),
            "also one that is not in the list"
        );
        assert_eq!(next(&several, &at("a:1"), &follower(None)), at("b:2"));
        assert_eq!(next(&several, &at("c:3"), &Trouble::Closed), at("a:1"));
        assert_eq!(next(&several, &at("d:4"), &Trouble::Closed), at("a:1"));
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
