//! Operations of the key-value store through which the ranks of a generation meet, passed on to the coordinator.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kindred_ipc::{StoreFault, StoreOperation, StoreValue};
use kindred_proto::{
    failure::{Reason, from_status},
    ids::NodeId,
    v1::{self, agent_service_client::AgentServiceClient, store_request as request},
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;

use crate::{config::STORE_MARGIN, link::Coordinator, reconcile::RankKey, route::Route};

/// Between two attempts while the coordinator is away.
const PAUSE: Duration = Duration::from_millis(200);

/// The store as this node reaches it; its connection comes back by itself, and follows the coordinator that leads.
#[derive(Clone, Debug)]
pub struct Store {
    route: Route,
    /// The coordinator that is asked, and the way to it.
    client: Arc<Mutex<(Coordinator, AgentServiceClient<Channel>)>>,
    node_id: NodeId,
}

impl Store {
    /// A store behind a channel that connects when it is needed.
    ///
    /// # Errors
    /// When the coordinator's address cannot be used.
    pub fn new(route: Route, node_id: NodeId) -> Result<Self, tonic::transport::Error> {
        let client = (route.asked(), AgentServiceClient::new(route.connect_lazily()?));
        Ok(Self { route, client: Arc::new(Mutex::new(client)), node_id })
    }

    /// The way to whoever leads.
    fn client(&self) -> AgentServiceClient<Channel> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = self.route.asked();
        if client.0 != asked
            && let Ok(channel) = self.route.connect_lazily()
        {
            *client = (asked, AgentServiceClient::new(channel));
        }
        client.1.clone()
    }

    /// Carries one operation out for a rank.
    ///
    /// Operations that may be repeated without harm are tried until their time is over, across a restart of the
    /// coordinator; `Add` and `Append` are tried once. `Check` never fails: what cannot be asked is not there.
    pub async fn call(&self, key: &RankKey, operation: StoreOperation) -> Result<StoreValue, StoreFault> {
        let deadline = Instant::now() + waiting_time(&operation) + STORE_MARGIN;
        let is_check = matches!(operation, StoreOperation::Check { .. });
        let may_repeat = !matches!(operation, StoreOperation::Add { .. } | StoreOperation::Append { .. });
        let subject = subject(&operation);
        let request = self.request(key, operation);
        loop {
            let fault = match self.attempt(&request, deadline, &subject).await {
                Ok(value) => return Ok(value),
                Err(_) if is_check => return Ok(StoreValue::default()),
                Err(fault) => fault,
            };
            let is_away = matches!(fault, StoreFault::Unreachable(_));
            if !is_away || !may_repeat || Instant::now() + PAUSE >= deadline {
                return Err(fault);
            }
            sleep(PAUSE).await;
        }
    }

    async fn attempt(
        &self,
        request: &v1::StoreRequest,
        deadline: Instant,
        subject: &str,
    ) -> Result<StoreValue, StoreFault> {
        match timeout_at(deadline, self.client().store(request.clone())).await {
            Ok(Ok(response)) => {
                let v1::StoreResponse { value, number, found } = response.into_inner();
                Ok(StoreValue { value, number, found })
            }
            Ok(Err(status)) => Err(fault(&status, subject)),
            Err(_) => Err(StoreFault::Unreachable(format!("no answer about {subject}"))),
        }
    }

    fn request(&self, key: &RankKey, operation: StoreOperation) -> v1::StoreRequest {
        v1::StoreRequest {
            job_id: key.job_id.to_string(),
            generation: key.generation.0,
            node_id: self.node_id.to_string(),
            operation: Some(wire(operation)),
        }
    }
}

/// How long the operation itself may wait for keys.
fn waiting_time(operation: &StoreOperation) -> Duration {
    match operation {
        StoreOperation::Get { timeout_ms, .. } | StoreOperation::Wait { timeout_ms, .. } => {
            Duration::from_millis((*timeout_ms).into())
        }
        _ => Duration::ZERO,
    }
}

/// What the operation is about, for messages.
fn subject(operation: &StoreOperation) -> String {
    match operation {
        StoreOperation::Set { key, .. }
        | StoreOperation::Get { key, .. }
        | StoreOperation::Add { key, .. }
        | StoreOperation::CompareSet { key, .. }
        | StoreOperation::Delete { key }
        | StoreOperation::Append { key, .. } => key.clone(),
        StoreOperation::Wait { keys, .. } | StoreOperation::Check { keys } => keys.join(", "),
        StoreOperation::CountKeys => "the number of keys".to_owned(),
    }
}

fn fault(status: &tonic::Status, subject: &str) -> StoreFault {
    match from_status(status).reason {
        Reason::StoreTimeout => StoreFault::Timeout(subject.to_owned()),
        Reason::StaleGeneration | Reason::JobNotFound => StoreFault::Superseded(status.message().to_owned()),
        _ => StoreFault::Unreachable(status.message().to_owned()),
    }
}

fn wire(operation: StoreOperation) -> request::Operation {
    use request::Operation as To;
    match operation {
        StoreOperation::Set { key, value } => To::Set(request::Set { key, value }),
        StoreOperation::Get { key, timeout_ms } => To::Get(request::Get { key, timeout_ms }),
        StoreOperation::Add { key, amount } => To::Add(request::Add { key, amount }),
        StoreOperation::CompareSet { key, expected, desired } => {
            To::CompareSet(request::CompareSet { key, expected, desired })
        }
        StoreOperation::Wait { keys, timeout_ms } => To::Wait(request::Wait { keys, timeout_ms }),
        StoreOperation::Check { keys } => To::Check(request::Check { keys }),
        StoreOperation::Delete { key } => To::Delete(request::Delete { key }),
        StoreOperation::CountKeys => To::CountKeys(request::CountKeys {}),
        StoreOperation::Append { key, value } => To::Append(request::Append { key, value }),
    }
}
