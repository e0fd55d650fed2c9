//! The real agents, each on a simulated machine.

use std::{path::Path, sync::Arc, time::Duration};

use kindred_agent::{Config, Error};
use kindred_proto::v1;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{host::SimulatedHost, network::Network, world::World};

/// How long a rank may take to stop.
const GRACE: Duration = Duration::from_secs(10);

/// One agent through all its lives.
pub struct Agent {
    host: SimulatedHost,
    config: Config,
    life: Option<Life>,
}

struct Life {
    task: JoinHandle<Result<(), Error>>,
    shutdown: CancellationToken,
}

/// How an agent is.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs, or was asked to stop and does.
    Runs,
    /// It ended as it was asked to, or was killed.
    Ended,
    /// It ended by itself, for this reason.
    Refused(String),
}

impl Agent {
    /// An agent that does not run yet; its node has an id already.
    pub fn new(world: &World, network: &Network, folder: &Path, node: usize, n_devices: u32) -> Self {
        let folder = folder.join(format!("node-{node}"));
        let state_dir = folder.join("state");
        std::fs::create_dir_all(&state_dir).expect("a folder of the test's own");
        std::fs::write(state_dir.join("node-id"), format!("node-{node}\n"))
            .expect("a folder of the test's own");
        let kind = v1::DeviceKind::Cpu.into();
        let config = Config {
            coordinators: "127.0.0.1:7460".parse().expect("an address"),
            node_name: format!("node-{node}"),
            state_dir,
            data_root: folder.join("data"),
            jobs_dir: folder.join("jobs"),
            data_address: None,
            devices: (0..n_devices).map(|index| v1::Device { index, kind, ..Default::default() }).collect(),
            checkpoint_store: None,
            shard_cache: None,
            labels: [("parity".to_owned(), (node % 2).to_string())].into(),
            rank_program: "simulated".into(),
            grace: GRACE,
        };
        let (world, network) = (world.clone(), network.clone());
        Self { host: SimulatedHost { world, network, node }, config, life: None }
    }

    /// Begins a life, unless it is in one; false while an older one ends.
    pub fn start(&mut self) -> bool {
        if let Some(life) = self.life.as_ref().filter(|life| !life.task.is_finished()) {
            return !life.shutdown.is_cancelled();
        }
        self.host.world.truth().note(format!("the agent of node-{} starts", self.host.node));
        let shutdown = CancellationToken::new();
        let host = Arc::new(self.host.clone());
        let task = tokio::spawn(kindred_agent::run_on(host, self.config.clone(), shutdown.clone()));
        self.life = Some(Life { task, shutdown });
        true
    }

    /// Ends it at once, and its ranks with it.
    pub async fn kill(&mut self) {
        let Some(life) = self.life.take() else { return };
        self.host.world.truth().note(format!("the agent of node-{} is killed", self.host.node));
        life.task.abort();
        let _ = life.task.await;
        self.is_gone().await;
    }

    /// Asks it to stop.
    pub fn stop(&self) {
        if let Some(life) = &self.life {
            self.host.world.truth().note(format!("the agent of node-{} is asked to stop", self.host.node));
            life.shutdown.cancel();
        }
    }

    /// Takes note of an agent that ended.
    pub async fn look(&mut self) -> Standing {
        let Some(life) = self.life.take_if(|life| life.task.is_finished()) else {
            return if self.life.is_some() { Standing::Runs } else { Standing::Ended };
        };
        self.is_gone().await;
        match life.task.await {
            Ok(Ok(())) => Standing::Ended,
            Ok(Err(error)) => Standing::Refused(error.to_string()),
            Err(error) => {
                self.host.world.truth().check(Err(format!("an agent failed: {error}")));
                Standing::Ended
            }
        }
    }

    /// W1.
    async fn is_gone(&self) {
        sleep(Duration::from_millis(1)).await;
        self.host.world.truth().agent_is_gone(self.host.node);
    }
}
