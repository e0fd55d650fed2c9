//! What an agent stands on: a machine with processes for its ranks, and a network with its coordinator.
//!
//! [`Machine`] is the one that the program runs on. The simulation (`tests/simulation`) brings another, so that the
//! whole of this crate runs there over a network and ranks that a seed decides about.

use std::{fmt::Debug, io, pin::Pin, process::ExitStatus};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::rank::{self, Launch};

/// A future that is known by what it gives.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream of bytes both ways.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// A stream of bytes one way.
pub type Pipe = Box<dyn AsyncRead + Send + Unpin>;

/// A machine, as an agent needs it.
pub trait Host: Debug + Send + Sync + 'static {
    /// Connects to `host:port`. The caller limits the time that this may take.
    ///
    /// # Errors
    /// When nobody listens there, or there is no way.
    fn connect(&self, address: &str) -> Pending<'static, io::Result<Box<dyn Connection>>>;

    /// Starts the process of a rank.
    ///
    /// # Errors
    /// When it does not start.
    fn start(&self, launch: &Launch) -> Result<Started, rank::Error>;
}

/// A rank's process that was started.
pub struct Started {
    /// Process id.
    pub pid: u32,
    /// The process.
    pub process: Box<dyn Process>,
    /// Comes true once the process calls its agent.
    pub call: Pending<'static, io::Result<Box<dyn Connection>>>,
    /// Its standard output.
    pub stdout: Pipe,
    /// Its standard error.
    pub stderr: Pipe,
}

/// A process. Dropping it kills it.
pub trait Process: Send {
    /// Waits for its end.
    ///
    /// Cancel safety: may be waited for again.
    fn wait(&mut self) -> Pending<'_, io::Result<ExitStatus>>;

    /// Kills it, and all that it started.
    fn kill(&mut self);
}

/// The machine that this program runs on.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl Host for Machine {
    fn connect(&self, address: &str) -> Pending<'static, io::Result<Box<dyn Connection>>> {
        let address = address.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }

    fn start(&self, launch: &Launch) -> Result<Started, rank::Error> {
        rank::start_process(launch)
    }
}
