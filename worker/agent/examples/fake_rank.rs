//! A rank without tensors, for the agent's tests: it does what the label `script` of its job says, then exits.
//!
//! A script is a list of words separated by spaces; see [`Rank::act`].

use std::{
    collections::BTreeMap,
    env,
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use kindred_ipc::{FromRank, SOCKET_VARIABLE, StoreOperation, ToRank, Wire};
use kindred_proto::{
    ids::{CheckpointId, Generation, Step},
    v1,
};

fn main() -> anyhow::Result<ExitCode> {
    let path = env::var_os(SOCKET_VARIABLE).context("no agent")?;
    let mut rank = Rank {
        stream: UnixStream::connect(path)?,
        job_id: String::new(),
        generation: Generation(0),
        n_calls: 0,
        stop: None,
        next: None,
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    rank.say(&FromRank::Hello { version, pid: std::process::id() })?;
    let ToRank::Start(start) = rank.hear()? else { bail!("the first message is not Start") };
    (rank.job_id, rank.generation) = (start.job_id.to_string(), start.generation);
    let script = start.spec.0.labels.get("script").context("no script")?.clone();
    for word in script.split(' ') {
        let (verb, rest) = word.split_once(':').unwrap_or((word, ""));
        if let Some(code) = rank.act(verb, rest).with_context(|| word.to_owned())? {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Rank {
    stream: UnixStream,
    job_id: String,
    generation: Generation,
    n_calls: u64,
    /// Set when a stop came while the rank waited for something else.
    stop: Option<bool>,
    /// Set when a newer generation was ordered while the rank waited for something else.
    next: Option<Generation>,
}

impl Rank {
    /// Does one word of the script; a code ends the process.
    fn act(&mut self, verb: &str, rest: &str) -> anyhow::Result<Option<ExitCode>> {
        match verb {
            "meet" => self.say(&FromRank::Meeting)?,
            "train" => self.train(rest)?,
            "progress" => self.say(&FromRank::Progress(Wire(progress(rest.parse()?))))?,
            "stall" => {
                let section = v1::stall::Section::Data.into();
                let stall = v1::Stall { section, for_ms: rest.parse()?, limit_ms: 2_000, step: 7 };
                self.say(&FromRank::Stalled(Some(Wire(stall))))?;
            }
            "point" => {
                let point = v1::MetricPoint { generation: self.generation.0, ..point(rest.parse()?) };
                self.say(&FromRank::Points(vec![Wire(point)]))?;
            }
            "line" => self.line(rest)?,
            "env" => self.line(&format!("{rest}={}", env::var(rest).unwrap_or_default()))?,
            "print" => writeln!(io::stdout(), "{rest}")?,
            "eprint" => eprintln!("{rest}"),
            "gate" => gate(rest)?,
            "set" => self.set(rest)?,
            "get" => self.store(StoreOperation::Get { key: rest.into(), timeout_ms: 60_000 })?,
            "get-soon" => self.store(StoreOperation::Get { key: rest.into(), timeout_ms: 50 })?,
            "check" => self.store(StoreOperation::Check { keys: vec![rest.into()] })?,
            "add" => self.store(StoreOperation::Add { key: rest.into(), amount: 2 })?,
            "commit" => self.commit(rest)?,
            "await-regroup" => self.await_regroup()?,
            "steps" => return self.steps(rest).map(Some),
            "await-stop" => return self.await_stop().map(Some),
            "hang" => loop {
                thread::park();
            },
            "finish" => self.say(&FromRank::Finished(Wire(result(rest))))?,
            "fail" => {
                let failure = v1::Failure { message: rest.into(), ..Default::default() };
                self.say(&FromRank::Failed(Wire(failure)))?;
            }
            "noise" => self.stream.write_all(&[0, 0, 0, 1, 255])?,
            "exit" => return Ok(Some(ExitCode::from(rest.parse::<u8>()?))),
            "abort" => std::process::abort(),
            _ => bail!("unknown verb"),
        }
        Ok(None)
    }

    fn say(&mut self, message: &FromRank) -> anyhow::Result<()> {
        Ok(kindred_ipc::write(&mut self.stream, message)?)
    }

    fn hear(&mut self) -> anyhow::Result<ToRank> {
        kindred_ipc::read(&mut self.stream)?.context("the agent hung up")
    }

    fn line(&mut self, message: &str) -> anyhow::Result<()> {
        let level = v1::LogLevel::Info.into();
        self.say(&FromRank::Line(Wire(v1::LogLine { level, message: message.into(), ..Default::default() })))
    }

    /// Has met the others, after so many steps; 0 when none are given.
    fn train(&mut self, steps: &str) -> anyhow::Result<()> {
        let began_at = Step(if steps.is_empty() { 0 } else { steps.parse()? });
        self.say(&FromRank::Training { generation: self.generation, began_at })
    }

    fn set(&mut self, pair: &str) -> anyhow::Result<()> {
        let (key, value) = pair.split_once('=').context("not key=value")?;
        self.store(StoreOperation::Set { key: key.into(), value: value.into() })
    }

    /// Calls the store and logs what came of it.
    fn store(&mut self, operation: StoreOperation) -> anyhow::Result<()> {
        self.n_calls += 1;
        self.say(&FromRank::StoreCall { call: self.n_calls, generation: self.generation, operation })?;
        let ToRank::StoreReply { call, outcome } = self.hear()? else { bail!("not a reply") };
        anyhow::ensure!(call == self.n_calls, "a reply to another call");
        let text = match outcome {
            Ok(value) => {
                format!("store:{}:{}:{}", String::from_utf8_lossy(&value.value), value.number, value.found)
            }
            Err(fault) => format!("store fault: {fault}"),
        };
        self.line(&text)
    }

    fn commit(&mut self, id: &str) -> anyhow::Result<()> {
        self.line("asking")?;
        self.say(&FromRank::AskCommit { checkpoint: CheckpointId::new(id) })?;
        let allowed = loop {
            match self.hear()? {
                ToRank::MayCommit { allowed, .. } => break allowed,
                ToRank::Stop { checkpoint } => self.stop = Some(checkpoint),
                ToRank::Regroup(start) => self.next = Some(start.generation),
                _ => bail!("not an answer"),
            }
        };
        self.line(&format!("allowed={allowed}"))?;
        if allowed {
            let job_id = self.job_id.clone();
            let checkpoint = v1::Checkpoint { id: id.into(), job_id, ..Default::default() };
            self.say(&FromRank::Committed(Wire(checkpoint)))?;
        }
        Ok(())
    }

    /// Goes on as a rank of the newer generation.
    fn await_regroup(&mut self) -> anyhow::Result<()> {
        self.generation = match self.next.take() {
            Some(generation) => generation,
            None => match self.hear()? {
                ToRank::Regroup(start) => start.generation,
                _ => bail!("not a newer generation"),
            },
        };
        Ok(())
    }

    /// Takes a step every so many milliseconds until it is told to stop.
    fn steps(&mut self, millis: &str) -> anyhow::Result<ExitCode> {
        let pause = Duration::from_millis(millis.parse()?);
        for step in 1.. {
            let point = v1::MetricPoint { generation: self.generation.0, ..point(step) };
            self.say(&FromRank::Points(vec![Wire(point)]))?;
            self.say(&FromRank::Progress(Wire(v1::Progress { total_steps: u64::MAX, ..progress(step) })))?;
            // The agent says something only when it wants something.
            self.stream.set_read_timeout(Some(pause))?;
            let is_quiet = match self.stream.read(&mut [0]) {
                Ok(0) => bail!("the agent hung up"),
                Ok(_) => false,
                Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            };
            if !is_quiet {
                break;
            }
        }
        self.say(&FromRank::Stopped)?;
        Ok(ExitCode::SUCCESS)
    }

    fn await_stop(&mut self) -> anyhow::Result<ExitCode> {
        let checkpoint = match self.stop {
            Some(checkpoint) => checkpoint,
            None => match self.hear()? {
                ToRank::Stop { checkpoint } => checkpoint,
                _ => bail!("not a stop"),
            },
        };
        self.line(&format!("stop checkpoint={checkpoint}"))?;
        self.say(&FromRank::Stopped)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Knocks at a socket of the test, and waits until the test hangs up.
fn gate(path: &str) -> anyhow::Result<()> {
    UnixStream::connect(path)?.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn progress(step: u64) -> v1::Progress {
    v1::Progress { step, ..Default::default() }
}

fn point(step: u64) -> v1::MetricPoint {
    v1::MetricPoint { series: "loss".into(), step, value: 0.5, ..Default::default() }
}

fn result(path: &str) -> v1::JobResult {
    let metrics: BTreeMap<_, _> = [("knn_accuracy_percent".to_owned(), 84.5)].into();
    v1::JobResult { metrics: metrics.into_iter().collect(), encoder_path: path.into(), ..Default::default() }
}
