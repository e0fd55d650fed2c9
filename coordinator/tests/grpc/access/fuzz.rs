//! Every method with messages that are malformed, oversized, of another type, stale, or said twice.
//!
//! The cases come from a seed, which a failure prints. `KINDRED_FUZZ_CASES` sets how many each method gets (`make test-full` has more),
//! `KINDRED_FUZZ_SEED` repeats a run.

use std::{env, net::SocketAddr};

use kindred_coordinator::{config::Config, server};
use kindred_proto::v1::{
    self, JobState, RankState, job_service_client::JobServiceClient, node_service_client::NodeServiceClient,
};
use proptest::{
    prelude::{Strategy, any},
    strategy::ValueTree,
    test_runner::{Config as TestConfig, RngAlgorithm, TestRng, TestRunner},
};
use prost::Message;
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Channel};

use super::{
    raw::{self, Method, call},
    secured::Secured,
};
use crate::fixture::{Coordinator, FakeAgent, spec};

/// Messages are no deeper than this; what is deeper is empty.
const DEPTH: u32 = 4;

/// Makes one thing after the other, the same for the same seed.
struct Source(TestRunner);

impl Source {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self(TestRunner::new_with_rng(TestConfig::default(), random))
    }

    fn draw<S: Strategy>(&mut self, strategy: S) -> S::Value {
        strategy.new_tree(&mut self.0).expect("nothing is filtered out").current()
    }

    fn below(&mut self, n: usize) -> usize {
        self.draw(0..n)
    }

    /// Text: often a name that is known there, sometimes one that is very long.
    fn text(&mut self) -> String {
        const KNOWN: [&str; 10] = [
            "",
            "job-1",
            "job-2",
            "node-a",
            "node-a-life-1",
            "default",
            "*",
            "loss",
            "127.0.0.1",
            "7d444840-9dc0-11d1-b245-5ffdce74fad2",
        ];
        match self.below(8) {
            0 => "x".repeat(self.below(70_000)),
            1 | 2 => self.draw(proptest::collection::vec(any::<char>(), 0..40)).into_iter().collect(),
            _ => KNOWN[self.below(KNOWN.len())].to_owned(),
        }
    }

    /// A number: often one at an edge.
    fn number(&mut self) -> u64 {
        const EDGES: [u64; 8] = [0, 1, 2, 127, u32::MAX as u64, i64::MAX as u64, u64::MAX - 1, u64::MAX];
        match self.below(3) {
            0 => self.draw(any::<u64>()),
            _ => EDGES[self.below(EDGES.len())],
        }
    }

    fn scalar(&mut self, kind: &Kind) -> Value {
        let number = self.number();
        match kind {
            Kind::Double => Value::F64(f64::from_bits(number)),
            Kind::Float => Value::F32(f32::from_bits(number as u32)),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(number),
            Kind::Bool => Value::Bool(number.is_multiple_of(2)),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.draw(proptest::collection::vec(any::<u8>(), 0..64)).into()),
            Kind::Enum(_) => Value::EnumNumber((number % 40) as i32),
            Kind::Message(_) => unreachable!("messages are filled in by themselves"),
        }
    }

    fn value(&mut self, kind: &Kind, depth: u32) -> Value {
        match kind {
            Kind::Message(message) => Value::Message(self.message(message, depth.saturating_sub(1))),
            scalar => self.scalar(scalar),
        }
    }

    fn field(&mut self, field: &FieldDescriptor, depth: u32) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!("an entry is a message") };
            let value = self.value(&entry.map_entry_value_field().kind(), depth);
            return Value::Map([(MapKey::String(self.text()), value)].into());
        }
        if field.cardinality() == Cardinality::Repeated {
            let n_values = self.below(4);
            return Value::List((0..n_values).map(|_| self.value(&field.kind(), depth)).collect());
        }
        self.value(&field.kind(), depth)
    }

    /// A message of this type, some of its fields set.
    fn message(&mut self, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        if depth == 0 {
            return message;
        }
        for field in descriptor.fields() {
            if self.below(3) > 0 {
                let value = self.field(&field, depth);
                // A map may have keys of another kind.
                let _ = message.try_set_field(&field, value);
            }
        }
        message
    }

    /// Bytes that may be a message of this type.
    fn bytes(&mut self, descriptor: Option<&MessageDescriptor>, others: &[MessageDescriptor]) -> Vec<u8> {
        let other = &others[self.below(others.len())];
        let mut bytes = self.message(descriptor.unwrap_or(other), DEPTH).encode_to_vec();
        match self.below(6) {
            0 => {}
            1 => bytes = self.draw(proptest::collection::vec(any::<u8>(), 0..300)),
            2 => bytes = self.message(other, DEPTH).encode_to_vec(),
            3 => bytes.truncate(self.below(bytes.len() + 1)),
            4 => {
                for _ in 0..self.below(8) {
                    let place = self.below(bytes.len().max(1));
                    let flipped = self.draw(any::<u8>());
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte ^= flipped;
                    }
                }
            }
            // Larger than any limit, and a varint that never ends.
            _ => bytes.resize(if self.below(4) == 0 { 17 << 20 } else { bytes.len() + 5000 }, 0xff),
        }
        bytes
    }
}

fn seed() -> u64 {
    let given = env::var("KINDRED_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()))
}

fn n_cases() -> usize {
    env::var("KINDRED_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

/// All methods, and what each of the contract's takes.
async fn methods() -> (Vec<Method>, Vec<MessageDescriptor>) {
    let secured = Secured::start().await;
    let methods = raw::methods(secured.link(&secured.admin).await).await;
    let inputs = methods.iter().filter_map(raw::input).collect();
    (methods, inputs)
}

/// Calls each method so many times; each request is sent twice, as after an answer that was lost.
async fn strike(channel: &Channel, seed: u64) {
    let (methods, inputs) = methods().await;
    let mut source = Source::new(seed);
    for method in &methods {
        let input = raw::input(method);
        for case in 0..n_cases() {
            let n_messages = if method.is_stream { 1 + source.below(3) } else { 1 };
            let messages: Vec<_> = (0..n_messages).map(|_| source.bytes(input.as_ref(), &inputs)).collect();
            for _ in 0..2 {
                let answer = call(channel.clone(), method, messages.clone()).await;
                let is_fine = !matches!(answer.code(), Code::Internal | Code::Unknown | Code::DataLoss)
                    // What cannot be decoded is refused so by tonic, and by HTTP/2 before it.
                    || is_refused_by_the_codec(&answer);
                assert!(is_fine, "seed {seed}, {} case {case}: {answer:?}", method.path);
            }
        }
    }
}

fn is_refused_by_the_codec(answer: &raw::Answer) -> bool {
    let raw::Answer::Ended(_, message) = answer else { return false };
    ["failed to decode", "too large", "stream", "h2 protocol"].iter().any(|part| message.contains(part))
}

/// A coordinator on files, which can be started again.
struct OnDisk {
    address: SocketAddr,
    channel: Channel,
    shutdown: CancellationToken,
    served: JoinHandle<Result<(), server::Error>>,
}

impl OnDisk {
    async fn start(config: &Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let (config, stop) = (config.clone(), shutdown.clone());
        // Its future stays on one thread.
        let runtime = tokio::runtime::Handle::current();
        let served =
            tokio::task::spawn_blocking(move || runtime.block_on(server::run(&config, listener, stop)));
        let uri = format!("http://{address}").parse().expect("an address");
        let channel = Channel::builder(uri).connect().await.expect("it listens");
        Self { address, channel, shutdown, served }
    }

    async fn jobs(&self) -> Vec<v1::Job> {
        let request = v1::ListJobsRequest { page_size: 1000, ..Default::default() };
        let listed = JobServiceClient::new(self.channel.clone()).list_jobs(request).await;
        listed.unwrap_or_else(|status| panic!("{}: {status:?}", self.address)).into_inner().jobs
    }

    async fn stop(self) {
        drop(self.channel);
        self.shutdown.cancel();
        self.served.await.expect("it did not panic").expect("it served to the end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_said_what_is_stored_is_read_again() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let config = Config::new(state.path());
    let coordinator = OnDisk::start(&config).await;
    strike(&coordinator.channel, seed()).await;
    let mut before = coordinator.jobs().await;
    coordinator.stop().await;
    let again = OnDisk::start(&config).await;
    let mut after = again.jobs().await;
    // A restart hears nodes anew, and what it says about a wait depends on them.
    for job in before.iter_mut().chain(&mut after) {
        job.reason.clear();
        (job.revision, job.ledger) = (0, None);
    }
    assert_eq!(before, after);
    NodeServiceClient::new(again.channel.clone())
        .list_nodes(v1::ListNodesRequest::default())
        .await
        .expect("nodes are listed");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_said_a_job_runs_to_its_end() {
    let coordinator = Coordinator::start().await;
    strike(&coordinator.channel, seed().wrapping_add(1)).await;
    let mut agent = FakeAgent::join(&coordinator, "after-all", 2).await;
    let request = v1::CreateJobRequest { spec: Some(spec(2)), ..Default::default() };
    let job = coordinator.jobs().create_job(request).await.expect("a valid job").into_inner().job;
    let job = job.expect("set");
    let is_ours =
        |orders: &v1::AgentOrders| orders.ranks.iter().filter(|rank| rank.job_id == job.id).count() == 2;
    let orders = agent.orders_when(is_ours).await;
    agent.say_all_are(&orders, RankState::Training).await;
    coordinator.job_when(&job.id, |job| job.state() == JobState::Running).await;
    agent.say_all_are(&orders, RankState::Finished).await;
    let ended = coordinator.job_when(&job.id, |job| job.state().is_terminal()).await;
    assert_eq!(ended.state(), JobState::Succeeded);
}

#[tokio::test]
async fn a_request_id_that_is_replayed_makes_one_job() {
    let coordinator = Coordinator::start().await;
    let request_id = "7d444840-9dc0-11d1-b245-5ffdce74fad2".to_owned();
    let request = v1::CreateJobRequest { spec: Some(spec(1)), request_id, ..Default::default() };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (mut jobs, request) = (coordinator.jobs(), request.clone());
        calls.spawn(async move { jobs.create_job(request).await.expect("the same again").into_inner() });
    }
    let answers = calls.join_all().await;
    let ids: std::collections::BTreeSet<_> =
        answers.into_iter().map(|answer| answer.job.expect("set").id).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let other = v1::CreateJobRequest { spec: Some(spec(2)), ..request };
    let refused = coordinator.jobs().create_job(other).await.expect_err("another job");
    assert_eq!(refused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn words_of_a_generation_that_is_over_change_nothing() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let job = coordinator.submit(1).await;
    let old = agent.orders_when(|orders| orders.ranks.len() == 1).await;
    agent.say_all_are(&old, RankState::Training).await;
    agent.say_all_failed(&old, kindred_proto::failure::Reason::Internal).await;
    let new = agent.orders_when(|orders| orders.ranks.iter().any(|rank| rank.generation == 2)).await;
    agent.say_all_are(&new, RankState::Training).await;
    coordinator.job_when(&job.id, |job| job.generation == 2 && job.state() == JobState::Running).await;

    let store = |generation| v1::StoreRequest {
        job_id: job.id.clone(),
        generation,
        node_id: "node-a".to_owned(),
        operation: Some(v1::store_request::Operation::CountKeys(v1::store_request::CountKeys {})),
    };
    for stale in [0, 1, 3, u64::MAX] {
        let status = coordinator.agents().store(store(stale)).await.expect_err("not live");
        assert_eq!(status.code(), Code::Aborted, "{stale}");
    }
    coordinator.agents().store(store(2)).await.expect("the live one");
    // The old rank's last word comes late, beside the new one's.
    let current = agent.report.ranks.clone();
    agent.say_all_are(&old, RankState::Finished).await;
    agent.report.ranks = current;
    agent.say().await;
    let request = v1::GetJobRequest { job_id: job.id.clone() };
    let now = coordinator.jobs().get_job(request).await.expect("it is there").into_inner().job.expect("set");
    assert!(!now.state().is_terminal() && now.generation >= 2, "{now:?}");
}
