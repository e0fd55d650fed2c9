//! The machine that a simulated agent stands on.

use std::{fmt, io, time::Duration};

use fastrand::Rng;
use kindred_agent::{
    host::{Connection, Host, Pending, Started},
    rank::{self, Launch},
};
use tokio::io::{duplex, empty};

use crate::{
    network::Network,
    process::{Child, Freezable, KILLED},
    rank::{Birth, run},
    world::World,
};

/// Bytes that a rank and its agent may be ahead of each other.
const SOCKET_BYTES: usize = 64 << 10;

/// One node.
#[derive(Clone)]
pub struct SimulatedHost {
    pub world: World,
    pub network: Network,
    pub node: usize,
}

impl fmt::Debug for SimulatedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{}", self.node)
    }
}

impl Host for SimulatedHost {
    fn connect(&self, _: &str) -> Pending<'static, io::Result<Box<dyn Connection>>> {
        self.network.connect(self.node)
    }

    fn start(&self, launch: &Launch) -> Result<Started, rank::Error> {
        let (agents_end, ranks_end) = duplex(SOCKET_BYTES);
        let mut truth = self.world.truth();
        let (pid, ice) = truth.processes.open(self.node);
        truth.note(format!("process {pid} starts on node-{}", self.node));
        truth.takes_up(self.node, &launch.start);
        truth.counts.started += 1;
        let mut rng = truth.rng.fork();
        let birth = Birth {
            world: self.world.clone(),
            pid,
            node: self.node,
            stream: ranks_end,
            fate: truth.processes.get(pid).fate.subscribe(),
            loading: loading(&mut rng),
            step: Duration::from_millis(rng.u64(40..=200)),
        };
        let world = self.world.clone();
        let task = tokio::spawn(async move {
            let status = Freezable { ice, inner: Box::pin(run(birth)) }.await;
            world.end(pid, status);
        });
        truth.processes.runs(pid, task.abort_handle());
        let (ended, world) = (truth.processes.end_of(pid), self.world.clone());
        Ok(Started {
            pid,
            process: Box::new(Child { ended, kill: Box::new(move || world.end(pid, KILLED)) }),
            call: Box::pin(async move { Ok(Box::new(agents_end) as Box<dyn Connection>) }),
            stdout: Box::new(empty()),
            stderr: Box::new(empty()),
        })
    }
}

/// Reading data takes a second or so, and sometimes much longer.
fn loading(rng: &mut Rng) -> Duration {
    let most_ms = if rng.u32(0..20) == 0 { 12_000 } else { 1_500 };
    Duration::from_millis(rng.u64(100..=most_ms))
}
