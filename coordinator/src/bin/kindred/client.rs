//! The link to the coordinator.

use std::{future::Future, time::Duration};

use kindred_proto::v1::{job_service_client::JobServiceClient, node_service_client::NodeServiceClient};
use tokio::time::{self, Instant};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    args::Global,
    exit::{Error, root_cause},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(500);
const PING_EVERY: Duration = Duration::from_secs(20);

/// A coordinator that answered.
#[derive(Clone)]
pub struct Client {
    /// Its address, for messages.
    pub address: String,
    channel: Channel,
}

impl Client {
    /// Reaches the coordinator, for as long as `--connect-timeout` says.
    pub async fn connect(global: &Global) -> Result<Self, Error> {
        let address = global.coordinator.trim_start_matches("http://").to_owned();
        let endpoint = endpoint(&address)?;
        let deadline = Instant::now() + global.connect_timeout;
        loop {
            match endpoint.connect().await {
                Ok(channel) => return Ok(Self { address, channel }),
                Err(error) if Instant::now() >= deadline => {
                    return Err(Error::unreachable(&address, &root_cause(&error)));
                }
                Err(_) => time::sleep(RETRY_EVERY).await,
            }
        }
    }

    /// Jobs, logs, metrics and checkpoints.
    pub fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
    }

    /// Nodes.
    pub fn nodes(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone())
    }

    /// Waits for the answer of one call, with a deadline.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        match time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_) => Err(Error::unreachable(&self.address, "no answer within 30 s")),
        }
    }

    /// What a failed call means for the user.
    pub fn error(&self, status: &Status) -> Error {
        Error::from_status(&self.address, status)
    }
}

fn endpoint(address: &str) -> Result<Endpoint, Error> {
    let has_port =
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok().filter(|_| has_port);
    let endpoint = endpoint.ok_or_else(|| {
        Error::invalid(format!("--coordinator: {address:?} is not host:port, such as 127.0.0.1:7460"))
    })?;
    Ok(endpoint
        .user_agent(concat!("kindred/", env!("CARGO_PKG_VERSION")))
        .expect("the name and version are plain text")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_EVERY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_host_and_port() {
        for bad in ["", "localhost", ":7460", "localhost:", "localhost:port", "a b:1"] {
            let error = endpoint(bad).expect_err(bad);
            assert!(error.to_string().contains("--coordinator"), "{error}");
        }
        for good in ["localhost:7460", "10.0.0.1:1", "[::1]:7460"] {
            endpoint(good).expect(good);
        }
    }
}
