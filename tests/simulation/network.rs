//! The network between agents and the coordinator: bytes that take their time, or do not come through.
//!
//! A lost packet is a late one, as TCP has it; what comes, comes in order. While a node is cut off nothing passes, not even
//! the end of a connection: whoever is on the other side finds out by itself.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use kindred_agent::host::{Connection, Pending};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split},
    sync::{Notify, mpsc},
    time::sleep,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;

/// Bytes that one end may be ahead of the network.
const WINDOW_BYTES: usize = 256 << 10;

/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// How a seed's network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Most that bytes usually take one way.
    pub latency: Duration,
    /// How many of a thousand pieces are sent again, and come late.
    pub late_permille: u32,
    /// Most that those take.
    pub lateness: Duration,
}

/// Which ways between a node and the coordinator are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// From the node to the coordinator.
    pub up: bool,
    /// From the coordinator to the node.
    pub down: bool,
}

impl Way {
    pub const OPEN: Self = Self { up: true, down: true };
    pub const CUT: Self = Self { up: false, down: false };
}

#[derive(Clone, Copy)]
enum Toward {
    Coordinator,
    Node,
}

/// Cheap handle to the network.
#[derive(Clone)]
pub struct Network(Arc<Mutex<Inner>>);

struct Inner {
    weather: Weather,
    rng: Rng,
    ways: Vec<Way>,
    /// Rings when a way changes; wakes in the order of waiting, as a `watch` does not.
    bell: Arc<Notify>,
    server: Option<Server>,
}

/// A coordinator that listens.
#[derive(Clone)]
struct Server {
    incoming: mpsc::Sender<io::Result<DuplexStream>>,
    life: CancellationToken,
}

impl Network {
    pub fn new(n_nodes: usize, weather: Weather, rng: Rng) -> Self {
        let (ways, bell) = (vec![Way::OPEN; n_nodes], Arc::default());
        Self(Arc::new(Mutex::new(Inner { weather, rng, ways, bell, server: None })))
    }

    /// Opens or cuts the way of a node.
    pub fn set_way(&self, node: usize, way: Way) {
        let mut inner = self.inner();
        inner.ways[node] = way;
        inner.bell.notify_waiters();
    }

    /// Begins to listen as the coordinator.
    pub fn listen(&self) -> impl Stream<Item = io::Result<DuplexStream>> + use<> {
        let (incoming, accepted) = mpsc::channel(BACKLOG);
        self.inner().server = Some(Server { incoming, life: CancellationToken::new() });
        ReceiverStream::new(accepted)
    }

    /// Ends the coordinator's side of all connections, as its death does.
    pub fn hang_up(&self) {
        if let Some(server) = self.inner().server.take() {
            server.life.cancel();
        }
    }

    /// Connects a node with the coordinator, if one listens and the way is open.
    pub fn connect(&self, node: usize) -> Pending<'static, io::Result<Box<dyn Connection>>> {
        let network = self.clone();
        Box::pin(async move {
            network.travel(node, Toward::Coordinator).await;
            let server = network.inner().server.clone();
            network.travel(node, Toward::Node).await;
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let server = server.ok_or_else(refused)?;
            let (node_end, node_side) = duplex(WINDOW_BYTES);
            let (server_end, server_side) = duplex(WINDOW_BYTES);
            server.incoming.send(Ok(server_end)).await.map_err(|_| refused())?;
            tokio::spawn(network.carry(node, node_side, server_side, server.life));
            Ok(Box::new(node_end) as Box<dyn Connection>)
        })
    }

    /// Carries bytes both ways until both ends are gone.
    async fn carry(
        self,
        node: usize,
        node_side: DuplexStream,
        server_side: DuplexStream,
        life: CancellationToken,
    ) {
        let (from_node, to_node) = split(node_side);
        let (from_server, to_server) = split(server_side);
        tokio::join!(
            self.carry_up(node, from_node, to_server, &life),
            self.carry_down(node, from_server, to_node, &life)
        );
    }

    async fn carry_up<R: AsyncRead + Unpin>(
        &self,
        node: usize,
        mut from: R,
        mut to: impl AsyncWrite + Unpin,
        life: &CancellationToken,
    ) -> R {
        tokio::select! {
            biased;
            () = life.cancelled() => {}
            () = self.pass(node, Toward::Coordinator, &mut from, &mut to) => {}
        }
        from
    }

    async fn carry_down<R: AsyncRead + Unpin>(
        &self,
        node: usize,
        mut from: R,
        mut to: impl AsyncWrite + Unpin,
        life: &CancellationToken,
    ) {
        let is_cut = tokio::select! {
            biased;
            () = life.cancelled() => true,
            () = self.pass(node, Toward::Node, &mut from, &mut to) => false,
        };
        drop(from);
        if is_cut {
            // The node hears of it once something comes through.
            self.travel(node, Toward::Node).await;
        }
    }

    /// Passes bytes on until their source ends, and then that end.
    async fn pass(
        &self,
        node: usize,
        toward: Toward,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) {
        let mut piece = vec![0; 16 << 10];
        while let Ok(n_bytes) = from.read(&mut piece).await {
            self.travel(node, toward).await;
            if n_bytes == 0 {
                let _ = to.shutdown().await;
                return;
            }
            if to.write_all(&piece[..n_bytes]).await.is_err() {
                return;
            }
        }
    }

    /// Comes true once something that is sent now has arrived.
    async fn travel(&self, node: usize, toward: Toward) {
        let (latency, bell) = self.draw();
        sleep(latency).await;
        loop {
            let rung = bell.notified();
            let way = self.inner().ways[node];
            let is_open = match toward {
                Toward::Coordinator => way.up,
                Toward::Node => way.down,
            };
            if is_open {
                return;
            }
            rung.await;
        }
    }

    fn draw(&self) -> (Duration, Arc<Notify>) {
        let mut inner = self.inner();
        let Weather { latency, late_permille, lateness } = inner.weather;
        let is_late = inner.rng.u32(0..1000) < late_permille;
        let bound = if is_late { lateness } else { latency };
        (bound.mul_f64(inner.rng.f64()), inner.bell.clone())
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics with it")
    }
}
