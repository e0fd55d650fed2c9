//! The way from this node to its coordinator.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

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
    link::{Coordinator, Coordinators},
};

/// A connection, as hyper wants to see it.
type Stream = TokioIo<Box<dyn Connection>>;

type Connecting = Pending<'static, io::Result<Stream>>;

/// The coordinators, the one that is asked, and the machine that reaches it. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where they listen.
    pub coordinators: Coordinators,
    /// What the agent stands on.
    pub host: Arc<dyn Host>,
    /// The one that leads, as far as this node knows.
    asked: Arc<Mutex<Coordinator>>,
}

impl Route {
    /// Asks the first one.
    pub fn new(coordinators: Coordinators, host: Arc<dyn Host>) -> Self {
        let asked = Arc::new(Mutex::new(coordinators.first().clone()));
        Self { coordinators, host, asked }
    }

    /// The coordinator that is asked.
    pub fn asked(&self) -> Coordinator {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks another one from now on.
    pub fn ask(&self, coordinator: Coordinator) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = coordinator;
    }

    /// Connects.
    ///
    /// # Errors
    /// When the address cannot be used, or no connection comes about in time.
    pub async fn connect(&self) -> Result<Channel, Error> {
        let coordinator = self.asked();
        coordinator.endpoint()?.connect_with_connector(self.connector(&coordinator)).await
    }

    /// A channel to the one that is asked now, which connects when it is needed, and again whenever that is lost.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn connect_lazily(&self) -> Result<Channel, Error> {
        let coordinator = self.asked();
        Ok(coordinator.endpoint()?.connect_with_connector_lazy(self.connector(&coordinator)))
    }

    /// This node's address on the way.
    ///
    /// # Errors
    /// When the name of the coordinator's host has no address, or there is no way.
    pub async fn local_address(&self) -> io::Result<IpAddr> {
        let mut result = Err(io::Error::other("the name has no address"));
        for remote in lookup_host(self.asked().to_string()).await? {
            result = address::toward(remote);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn connector(
        &self,
        coordinator: &Coordinator,
    ) -> impl Service<Uri, Response = Stream, Error = io::Error, Future = Connecting> + Send + 'static {
        let (host, address) = (self.host.clone(), coordinator.to_string());
        service_fn(move |_: Uri| -> Connecting {
            let connection = host.connect(&address);
            Box::pin(async move { connection.await.map(TokioIo::new) })
        })
    }
}
