//! The real coordinator on a simulated disk, clock and network.

use std::time::{Duration, UNIX_EPOCH};

use kindred_coordinator::{
    api,
    config::Config,
    engine::{self, Clock, Handle},
    telemetry::Telemetry,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{journal::SimulatedJournal, network::Network, world::World};

/// The date at which simulations begin.
const BEGINNING: Duration = Duration::from_secs(1_800_000_000);

/// One coordinator through all its lives.
pub struct Coordinator {
    world: World,
    network: Network,
    config: Config,
    telemetry: Telemetry,
    started: Instant,
    /// The present life's, for whoever asks.
    handle: watch::Sender<Option<Handle>>,
    life: Option<Life>,
}

struct Life {
    shutdown: CancellationToken,
    stop_engine: CancellationToken,
    engine: JoinHandle<()>,
    api: JoinHandle<()>,
}

impl Coordinator {
    pub fn new(world: &World, network: &Network, config: Config, telemetry: Telemetry) -> Self {
        let (world, network) = (world.clone(), network.clone());
        let handle = watch::Sender::new(None);
        Self { world, network, config, telemetry, started: Instant::now(), handle, life: None }
    }

    /// The handle of whatever life there is.
    pub fn handle(&self) -> watch::Receiver<Option<Handle>> {
        self.handle.subscribe()
    }

    /// Begins a life: the journal is replayed, then agents are let in.
    pub async fn start(&mut self) {
        if self.life.is_some() {
            return;
        }
        let journal = SimulatedJournal::new(&self.world);
        let started = self.started;
        let clock = Clock::start_by(move || UNIX_EPOCH + BEGINNING + started.elapsed());
        let (handle, engine) = engine::start_at(&self.config, journal, self.telemetry.clone(), clock)
            .await
            .expect("a readable journal");
        self.world.truth().note("the coordinator starts");
        let (shutdown, stop_engine) = (CancellationToken::new(), CancellationToken::new());
        let engine = tokio::spawn(engine.run(stop_engine.clone()));
        let served = api::serve_on(handle.clone(), self.network.listen(), shutdown.clone());
        let api = tokio::spawn(async move { served.await.expect("it serves") });
        self.handle.send_replace(Some(handle));
        self.life = Some(Life { shutdown, stop_engine, engine, api });
    }

    /// Ends it at once.
    pub async fn kill(&mut self) {
        let Some(life) = self.life.take() else { return };
        self.world.truth().note("the coordinator is killed");
        self.handle.send_replace(None);
        self.network.hang_up();
        life.engine.abort();
        life.api.abort();
        // Either ends by being aborted.
        let _ = tokio::join!(life.engine, life.api);
    }

    /// Asks it to stop, and waits.
    pub async fn stop(&mut self) {
        let Some(life) = self.life.take() else { return };
        self.world.truth().note("the coordinator is asked to stop");
        self.handle.send_replace(None);
        let Life { shutdown, stop_engine, engine, api } = life;
        shutdown.cancel();
        let ended = timeout(2 * api::GRACE, async {
            let _ = api.await;
            stop_engine.cancel();
            let _ = engine.await;
        });
        let ended = ended.await;
        self.network.hang_up();
        if ended.is_err() {
            self.world.truth().check(Err("the coordinator does not stop".to_owned()));
        }
    }
}
