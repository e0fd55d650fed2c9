//! The link to the coordinator.

use std::{future::Future, time::Duration};

use kindred_proto::{
    failure::{self, Reason},
    v1::{
        self, access_service_client::AccessServiceClient, event_service_client::EventServiceClient,
        job_service_client::JobServiceClient, node_service_client::NodeServiceClient,
    },
};
use tokio::time::{self, Instant};
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    args::{Credentials, Global},
    credentials::{self, Bearer, Link},
    exit::{Error, root_cause},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(500);
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a leader is looked for where there are several coordinators: another one takes over within seconds.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// A coordinator that answered, and leads.
#[derive(Clone)]
pub struct Client {
    /// Its address, for messages.
    pub address: String,
    channel: Channel,
    global: Global,
    bearer: Bearer,
}

impl Client {
    /// Reaches the coordinator that leads, for as long as `--connect-timeout` says, and through a change of leaders.
    pub async fn connect(global: &Global) -> Result<Self, Error> {
        Self::connect_with(global, Bearer::of(global).await?).await
    }

    /// As [`Client::connect`], showing this token.
    pub async fn connect_with(global: &Global, bearer: Bearer) -> Result<Self, Error> {
        let started = Instant::now();
        loop {
            let Missing { error, is_one_of_several } = match Self::find(global, &bearer).await? {
                Ok(client) => return Ok(client),
                Err(missing) => missing,
            };
            let least = if is_one_of_several { TAKE_OVER } else { Duration::ZERO };
            if started.elapsed() >= global.connect_timeout.max(least) {
                return Err(error);
            }
            time::sleep(RETRY_EVERY).await;
        }
    }

    /// Looks once whether the same coordinator, or another one, leads now.
    pub async fn again(&self) -> Option<Self> {
        Self::find(&self.global, &self.bearer).await.ok()?.ok()
    }

    /// The coordinator that leads after this one was lost; the error that `status` is where there is none.
    pub async fn after_loss(&self, status: &Status) -> Result<Self, Error> {
        let found = Self::connect_with(&self.global, self.bearer.clone()).await;
        found.map_err(|_| self.error(status))
    }

    /// Whether a call that was refused may be made again, since the token of a sign-in is another one by now.
    pub fn has_new_token(&self, status: &Status) -> bool {
        status.code() == Code::Unauthenticated && self.bearer.is_renewed()
    }

    /// Asks each coordinator of the list, and the one that they name.
    async fn find(global: &Global, bearer: &Bearer) -> Result<Result<Self, Missing>, Error> {
        let mut addresses = addresses(&global.coordinator, &global.credentials)?;
        let mut missing = Missing { error: nobody(global), is_one_of_several: addresses.len() > 1 };
        let mut n_asked = 0;
        while let Some(address) = addresses.get(n_asked).cloned() {
            n_asked += 1;
            let endpoint = endpoint(&address, &global.credentials)?;
            let channel = match endpoint.connect().await {
                Ok(channel) => channel,
                Err(error) => {
                    missing.error = Error::unreachable(&address, &root_cause(&error));
                    continue;
                }
            };
            let client = Self { address, channel, global: global.clone(), bearer: bearer.clone() };
            let Some(refusal) = client.refusal().await else { return Ok(Ok(client)) };
            missing = Missing { error: client.error(&refusal), is_one_of_several: true };
            let leader = failure::from_status(&refusal).leader().map(str::to_owned);
            // Asked twice it says the same.
            addresses.extend(leader.filter(|leader| !addresses.contains(leader)));
        }
        Ok(Err(missing))
    }

    /// What a coordinator says that does not lead; any other answer comes from the one that does.
    async fn refusal(&self) -> Option<Status> {
        let question = v1::GetJobRequest::default();
        let answer = time::timeout(CONNECT_TIMEOUT, self.jobs().get_job(question)).await.ok()?;
        answer.err().filter(|status| failure::from_status(status).reason == Reason::NotLeader)
    }

    /// Jobs, logs, metrics and checkpoints.
    pub fn jobs(&self) -> JobServiceClient<Link> {
        JobServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// Nodes.
    pub fn nodes(&self) -> NodeServiceClient<Link> {
        NodeServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// What became of jobs and nodes.
    pub fn events(&self) -> EventServiceClient<Link> {
        EventServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// Tokens, and what became of calls.
    pub fn access(&self) -> AccessServiceClient<Link> {
        AccessServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
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

    /// As [`Client::answer`], for whoever has something to do about a failure.
    pub async fn call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let silent = |_| Status::unavailable("no answer within 30 s");
        Ok(time::timeout(CALL_TIMEOUT, call).await.map_err(silent)??.into_inner())
    }

    /// What a failed call means for the user.
    pub fn error(&self, status: &Status) -> Error {
        Error::from_status(&self.address, status)
    }
}

/// Why no leader was found.
struct Missing {
    error: Error,
    /// True where there are several coordinators, so that one may lead soon.
    is_one_of_several: bool,
}

fn nobody(global: &Global) -> Error {
    Error::unreachable(&global.coordinator, "no address is given")
}

/// `host:port`, or several with commas between them.
fn addresses(list: &str, shown: &Credentials) -> Result<Vec<String>, Error> {
    let bare = |address: &str| {
        address.trim().trim_start_matches("http://").trim_start_matches("https://").to_owned()
    };
    let addresses: Vec<_> = list.split(',').map(bare).collect();
    addresses.iter().try_for_each(|address| endpoint(address, shown).map(drop))?;
    Ok(addresses)
}

fn endpoint(address: &str, shown: &Credentials) -> Result<Endpoint, Error> {
    let has_port =
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let endpoint = credentials::endpoint(address, shown)?.filter(|_| has_port);
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
            let error = endpoint(bad, &Credentials::default()).expect_err(bad);
            assert!(error.to_string().contains("--coordinator"), "{error}");
        }
        for good in ["localhost:7460", "10.0.0.1:1", "[::1]:7460"] {
            endpoint(good, &Credentials::default()).expect(good);
        }
        assert_eq!(addresses("a:1, http://b:2", &Credentials::default()).expect("two"), ["a:1", "b:2"]);
        addresses("a:1,b", &Credentials::default()).expect_err("the second has no port");
    }
}
