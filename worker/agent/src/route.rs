//! The way from this node to its coordinator.

use std::{io, net::IpAddr, sync::Arc};

use hyper_util::rt::TokioIo;
use tokio::net::lookup_host;
use tonic::{
    codegen::{Service, http::Uri},
    transport::{Channel, Error},
};
use tower::service_fn;

use crate::{
    address,
    host::{Connection, Host, Pending},
    link::Coordinator,
};

/// A connection, as hyper wants to see it.
type Stream = TokioIo<Box<dyn Connection>>;

type Connecting = Pending<'static, io::Result<Stream>>;

/// A coordinator, and the machine that reaches it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where it listens.
    pub coordinator: Coordinator,
    /// What the agent stands on.
    pub host: Arc<dyn Host>,
}

impl Route {
    /// Connects.
    ///
    /// # Errors
    /// When the address cannot be used, or no connection comes about in time.
    pub async fn connect(&self) -> Result<Channel, Error> {
        self.coordinator.endpoint()?.connect_with_connector(self.connector()).await
    }

    /// A channel that connects when it is needed, and again whenever that is lost.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn connect_lazily(&self) -> Result<Channel, Error> {
        Ok(self.coordinator.endpoint()?.connect_with_connector_lazy(self.connector()))
    }

    /// This node's address on the way.
    ///
    /// # Errors
    /// When the name of the coordinator's host has no address, or there is no way.
    pub async fn local_address(&self) -> io::Result<IpAddr> {
        let mut result = Err(io::Error::other("the name has no address"));
        for remote in lookup_host(self.coordinator.to_string()).await? {
            result = address::toward(remote);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn connector(
        &self,
    ) -> impl Service<Uri, Response = Stream, Error = io::Error, Future = Connecting> + Send + 'static {
        let route = self.clone();
        service_fn(move |_: Uri| -> Connecting {
            let connection = route.host.connect(&route.coordinator.to_string());
            Box::pin(async move { connection.await.map(TokioIo::new) })
        })
    }
}
