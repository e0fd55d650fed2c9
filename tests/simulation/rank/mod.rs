//! A simulated rank: says and waits for what the real one does (`worker/src/train`), and computes nothing.

use std::{io, time::Duration};

use kindred_ipc::{FromRank, Start, StoreFault, StoreOperation, Wire};
use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Generation, Step},
    v1,
};
use tokio::{
    io::{DuplexStream, split},
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    collective::{Lost, Seat, Share},
    process::{KILLED, Pid},
    world::World,
};

mod line;
pub mod lineage;
mod saver;

use line::Line;
use lineage::Lineage;
use saver::Saver;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Code 0, and code 1 as a wait status has it.
const WELL: i32 = 0;
const UNWELL: i32 = 1 << 8;

/// What a process is given at its start.
pub struct Birth {
    pub world: World,
    pub pid: Pid,
    pub node: usize,
    /// Its line to the agent.
    pub stream: DuplexStream,
    /// A fault that it meets.
    pub fate: watch::Receiver<Option<Reason>>,
    /// From the start to the first word, and from there to the meeting.
    pub loading: Duration,
    pub step: Duration,
}

/// Runs a rank to the end of its process; gives its wait status.
pub async fn run(birth: Birth) -> i32 {
    let Birth { world, pid, node, stream, mut fate, loading, step } = birth;
    let (reader, writer) = split(stream);
    let (line, queue) = Line::new();
    let reading = line.clone();
    let work = async move {
        sleep(loading / 4).await;
        line.say(FromRank::Hello { version: env!("CARGO_PKG_VERSION").into(), pid }).await;
        let start = line.start().await;
        sleep(loading).await;
        let rank = SimulatedRank { world, pid, node, step, line: line.clone(), start, held: None };
        let met = async {
            let reason = fate.wait_for(Option::is_some).await.map_or(None, |reason| *reason);
            Failure::new(reason.unwrap_or(Reason::Internal), "the simulation wants it")
        };
        let last = tokio::select! {
            biased;
            last = rank.serve() => last,
            failure = met => FromRank::Failed(Wire((&failure).into())),
        };
        let status = if matches!(last, FromRank::Failed(_)) { UNWELL } else { WELL };
        line.say(last).await;
        status
    };
    let talk = async {
        let ((), status) = tokio::join!(line::write(queue, writer), work);
        status
    };
    tokio::select! {
        biased;
        status = talk => status,
        // W1: the agent is gone.
        _ = ends(reading, reader) => KILLED,
    }
}

/// Reads what the agent says until it is gone.
async fn ends(line: Line, reader: tokio::io::ReadHalf<DuplexStream>) -> io::Result<()> {
    line.read(reader).await
}

/// Why a generation ended for a rank.
enum Fault {
    /// The ranks did not meet.
    Meeting(StoreFault),
    /// A peer is gone.
    Peers,
    /// Something that no other generation helps with.
    Own(Failure),
}

enum Ending {
    Finished(v1::JobResult),
    Stopped,
}

struct SimulatedRank {
    world: World,
    pid: Pid,
    node: usize,
    step: Duration,
    line: Line,
    start: Start,
    /// The state of a rank that has met others, and whether what follows its last step is to be done.
    held: Option<(Lineage, bool)>,
}

impl SimulatedRank {
    async fn serve(mut self) -> FromRank {
        if let Some(failure) = self.superseded() {
            return FromRank::Failed(Wire((&failure).into()));
        }
        loop {
            self.world.truth().rank_starts(self.pid, self.node, &self.start);
            let fault = match self.generation().await {
                Ok(Ending::Finished(result)) => return FromRank::Finished(Wire(result)),
                Ok(Ending::Stopped) => return FromRank::Stopped,
                Err(Fault::Own(failure)) => return FromRank::Failed(Wire((&failure).into())),
                Err(fault) => failure_of(&fault),
            };
            let next = if self.held.is_some() { self.part(&fault).await } else { None };
            match next {
                Some(start) => {
                    let mut truth = self.world.truth();
                    truth.takes_up(self.node, &start);
                    truth.counts.regrouped += 1;
                    drop(truth);
                    self.start = start;
                }
                None if self.line.stop().is_some() => return FromRank::Stopped,
                None => return FromRank::Failed(Wire((&fault).into())),
            }
        }
    }

    /// Where a newer generation's checkpoints are, a process of the first one took too long to start.
    fn superseded(&self) -> Option<Failure> {
        if self.start.generation != Generation(1) {
            return None;
        }
        let mut truth = self.world.truth();
        let id = truth.disks.newest(self.node, &self.start.job_id)?.id();
        let text = format!("process {} of generation 1 finds {id}", self.pid);
        truth.note(&text);
        Some(Failure::new(Reason::StaleGeneration, text))
    }

    async fn part(&self, fault: &Failure) -> Option<Start> {
        if !self.line.is_superseded() {
            self.line.say(FromRank::Parted(Wire(fault.into()))).await;
        }
        let patience = Duration::from_millis(self.start.abort_grace_ms);
        self.line.wait_regroup(Instant::now() + patience).await
    }

    async fn generation(&mut self) -> Result<Ending, Fault> {
        self.line.say(FromRank::Meeting).await;
        let mut seat = self.connect().await.map_err(Fault::Meeting)?;
        let is_writer = self.begin(&mut seat).await?;
        let mut saver = Saver::new(&self.world, &self.line, self.pid, &self.start, is_writer);
        let began_at = Step(self.lineage().taken());
        self.line.say(FromRank::Training { generation: self.start.generation, began_at }).await;
        let ended = self.train(&mut seat, &mut saver).await;
        if ended.is_err() {
            saver.settle_after_fault().await;
        }
        ended
    }

    /// Meets the others through the coordinator's store: each learns who the others are.
    async fn connect(&self) -> Result<Seat, StoreFault> {
        let patience = Duration::from_millis(self.start.meeting_timeout_ms);
        let timeout = Duration::from_millis(self.start.collective_timeout_ms);
        let (own, n_ranks) = (self.start.rank.0, self.start.world_size.0);
        let generation = self.start.generation;
        if n_ranks == 1 {
            return Ok(Seat::new(self.world.clone(), self.pid, (generation, vec![self.pid]), timeout));
        }
        let key = |rank: u32| format!("process/{rank}");
        let value = self.pid.to_string().into_bytes();
        self.line.call(generation, StoreOperation::Set { key: key(own), value }, Duration::ZERO).await?;
        let timeout_ms = patience.as_millis() as u32;
        let keys = (0..n_ranks).map(key).collect();
        self.line.call(generation, StoreOperation::Wait { keys, timeout_ms }, patience).await?;
        let mut members = vec![];
        for rank in 0..n_ranks {
            let value = self
                .line
                .call(generation, StoreOperation::Get { key: key(rank), timeout_ms }, patience)
                .await?
                .value;
            let text = String::from_utf8(value).expect("a process wrote it");
            members.push(text.parse().expect("a process wrote it"));
        }
        Ok(Seat::new(self.world.clone(), self.pid, (generation, members), timeout))
    }

    /// Takes over the most advanced state; says whether this rank writes checkpoints.
    async fn begin(&mut self, seat: &mut Seat) -> Result<bool, Fault> {
        let (lineage, owes) = match self.held.clone() {
            Some(held) => held,
            None => (self.load(), false),
        };
        let shares = seat.gather(Share { lineage, owes, stop: None, leaves: false, node: self.node }).await?;
        let most = shares.iter().map(|share| share.lineage.taken()).max().unwrap_or(0);
        let source = shares.iter().find(|share| share.lineage.taken() == most).expect("it is one of them");
        self.check_progress(most)?;
        let owes = shares.iter().any(|share| share.lineage.taken() == most && share.owes);
        self.held = Some((source.lineage.clone(), owes));
        let first = shares.iter().position(|share| share.node == self.node);
        Ok(first == Some(self.start.rank.0 as usize))
    }

    fn load(&self) -> Lineage {
        let manifest = self.world.truth().load(self.node, &self.start.job_id);
        manifest.map(|manifest| manifest.lineage).unwrap_or_default()
    }

    /// What is recorded is not lost: not at all on a disk that all nodes share.
    fn check_progress(&self, taken: u64) -> Result<(), Fault> {
        let recorded = self.start.resume_from.as_ref().map_or(0, |recorded| recorded.0.step);
        let mut truth = self.world.truth();
        if taken < recorded && truth.disks.is_shared() {
            let job_id = &self.start.job_id;
            truth.check(Err(format!("C1: {job_id} goes on after step {taken}, step {recorded} is recorded")));
        }
        if taken == 0 && recorded > 0 {
            let text = "the checkpoint is on none of the job's nodes";
            return Err(Fault::Own(Failure::new(Reason::CheckpointUnreadable, text)));
        }
        Ok(())
    }

    async fn train(&mut self, seat: &mut Seat, saver: &mut Saver) -> Result<Ending, Fault> {
        let total = saver.total_steps();
        let mut said_at = self.say_progress(total).await;
        if self.held.as_ref().is_some_and(|(_, owes)| *owes) && self.settle_step(seat, saver).await? {
            return Ok(Ending::Stopped);
        }
        while self.lineage().taken() < total {
            sleep(self.step).await;
            self.gather(seat).await?;
            let by = self.start.generation;
            if let Some((lineage, owes)) = &mut self.held {
                lineage.step(by);
                *owes = true;
            }
            if said_at.elapsed() >= PROGRESS_INTERVAL {
                said_at = self.say_progress(total).await;
            }
            if self.settle_step(seat, saver).await? {
                return Ok(Ending::Stopped);
            }
        }
        self.say_progress(total).await;
        if !saver.settle(None).await {
            return Ok(Ending::Stopped);
        }
        Ok(Ending::Finished(self.result()))
    }

    /// What follows a step; whether the ranks stop after it.
    async fn settle_step(&mut self, seat: &mut Seat, saver: &mut Saver) -> Result<bool, Fault> {
        let lineage = self.lineage();
        let is_due = saver.is_due(lineage.taken());
        if is_due {
            saver.save(lineage.clone()).await;
        }
        self.held = Some((lineage.clone(), false));
        saver.poll().await;
        let shares = self.gather(seat).await?;
        let wishes: Vec<bool> = shares.iter().filter_map(|share| share.stop).collect();
        if wishes.is_empty() {
            // For a newer generation all leave after the same step.
            let leaves = shares.iter().any(|share| share.leaves);
            return if leaves { Err(Fault::Peers) } else { Ok(false) };
        }
        if wishes.contains(&true) && !is_due {
            saver.save(lineage).await;
        }
        saver.settle_and_stop().await;
        Ok(true)
    }

    async fn gather(&self, seat: &mut Seat) -> Result<Vec<Share>, Fault> {
        let (lineage, owes) = self.held.clone().unwrap_or_default();
        let leaves = self.line.is_superseded();
        let share = Share { lineage, owes, stop: self.line.stop(), leaves, node: self.node };
        let shares = seat.gather(share).await?;
        let taken = |share: &Share| share.lineage.taken();
        if shares.iter().any(|share| taken(share) != taken(&shares[0])) {
            let text = format!("L1: ranks of {} are at different steps", self.start.job_id);
            self.world.truth().check(Err(text));
        }
        Ok(shares)
    }

    fn lineage(&self) -> Lineage {
        self.held.as_ref().map(|(lineage, _)| lineage.clone()).unwrap_or_default()
    }

    fn result(&self) -> v1::JobResult {
        if self.start.rank.0 != 0 {
            return v1::JobResult::default();
        }
        let lineage = self.lineage();
        if !lineage.is_sound() {
            self.world.truth().check(Err(format!("generations go back in {lineage:?}")));
        }
        v1::JobResult { encoder_digest: lineage.digest(), ..Default::default() }
    }

    async fn say_progress(&self, total_steps: u64) -> Instant {
        let step = self.lineage().taken();
        self.line
            .say(FromRank::Progress(Wire(v1::Progress { step, total_steps, ..Default::default() })))
            .await;
        Instant::now()
    }
}

impl From<Lost> for Fault {
    fn from(_: Lost) -> Self {
        Self::Peers
    }
}

/// What the agent hears of a fault that is about other ranks.
fn failure_of(fault: &Fault) -> Failure {
    match fault {
        Fault::Meeting(StoreFault::Superseded(text)) => Failure::new(Reason::PeerLost, text),
        Fault::Meeting(fault) => Failure::new(Reason::MeetingTimeout, fault.to_string()),
        Fault::Peers => Failure::new(Reason::PeerLost, "a peer closed its connection"),
        Fault::Own(failure) => failure.clone(),
    }
}
