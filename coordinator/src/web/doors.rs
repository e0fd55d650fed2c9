//! Connections of browsers, with TLS or without.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_util::either::Either;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at a time; who comes later waits.
const MAX_HANDSHAKES: usize = 256;
/// After an accept that failed, as it does when there are too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// A connection that is ready.
pub type Connection = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Where connections come in.
pub struct Doors {
    address: SocketAddr,
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
    accepting: AbortHandle,
}

impl Doors {
    /// Accepts from now on. Handshakes go on beside one another: one that is slow holds up nobody.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn open(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (opened, ready) = mpsc::channel(16);
        let accepting = tokio::spawn(accept_all(listener, tls.map(TlsAcceptor::from), opened)).abort_handle();
        Ok(Self { address, ready, accepting })
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for Doors {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // Nobody accepts any more: the coordinator stops.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept_all(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    opened: mpsc::Sender<(Connection, SocketAddr)>,
) {
    let free = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection to the dashboard was not accepted");
                time::sleep(PAUSE).await;
                continue;
            }
        };
        // Answers are small: they go out at once.
        let _ = stream.set_nodelay(true);
        let (tls, opened) = (tls.clone(), opened.clone());
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        handshakes.spawn(async move {
            let connection = match tls {
                None => Some(Either::Left(stream)),
                Some(tls) => shake_hands(&tls, stream, peer).await,
            };
            drop(permit);
            if let Some(connection) = connection {
                let _ = opened.send((connection, peer)).await;
            }
        });
    }
}

async fn shake_hands(tls: &TlsAcceptor, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
    match time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Either::Right(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a browser did not speak TLS");
            None
        }
        Err(_) => None,
    }
}

/// Whom a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Doors>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Doors>) -> Self {
        Self(*stream.remote_addr())
    }
}
