//! Every message survives its frame, and no byte stream makes the reader panic or allocate without bound.

use std::io::{self, Cursor, ErrorKind, Read};

use kindred_ipc::{
    CheckpointStore, Error, FromRank, MAX_FRAME_BYTES, ShardCache, Start, StoreFault, StoreOperation,
    StoreValue, ToRank, Wire, decode, encode, read, write,
};
use kindred_proto::{
    ids::{CheckpointId, Generation, Rank, Step, WorldSize},
    v1,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

fn round_trip<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(messages: &[M]) {
    let mut stream = Vec::new();
    for message in messages {
        write(&mut stream, message).expect("a Vec takes every frame");
    }
    let mut reader = Cursor::new(stream);
    for message in messages {
        assert_eq!(read::<M>(&mut reader).expect("decodes").as_ref(), Some(message));
    }
    assert!(read::<M>(&mut reader).expect("a clean end").is_none());
}

fn checkpoint() -> v1::Checkpoint {
    v1::Checkpoint {
        id: CheckpointId::of(Step(120), Generation(3)).to_string(),
        job_id: "job-1".into(),
        generation: 3,
        step: 120,
        epoch: 1.5,
        path: "/jobs/job-1/checkpoints".into(),
        knn_accuracy_percent: Some(81.25),
        ..Default::default()
    }
}

fn start() -> Start {
    Start {
        version: "0.1.0".into(),
        job_id: "job-1".into(),
        generation: Generation(3),
        rank: Rank(1),
        world_size: WorldSize(2),
        node_id: "node-a".into(),
        device_index: 1,
        spec: Wire(v1::JobSpec { name: "try".into(), ranks: Some(2), ..Default::default() }),
        job_dir: "/jobs/job-1".into(),
        data_root: "/data".into(),
        data_address: "127.0.0.1".into(),
        resume_from: Some(Wire(checkpoint())),
        meeting_timeout_ms: 60_000,
        collective_timeout_ms: 60_000,
        abort_grace_ms: 5_000,
        alive_interval_ms: 0,
        n_losses: 2,
        trained_ms: 90_000,
        created_unix_ms: 1_790_000_000_000,
        checkpoint_store: Some(CheckpointStore {
            url: "s3://bucket/prefix".into(),
            patience_ms: 60_000,
            stop_patience_ms: 8_000,
        }),
        shard_cache: Some(ShardCache { folder: "/var/cache/kindred".into(), max_bytes: 50 << 30 }),
    }
}

fn training() -> FromRank {
    FromRank::Training { generation: Generation(3), began_at: Step(120) }
}

#[test]
fn every_message_to_a_rank_survives_its_frame() {
    let reply = |outcome| ToRank::StoreReply { call: 7, outcome };
    round_trip(&[
        ToRank::Start(Box::new(start())),
        ToRank::Start(Box::new(Start { resume_from: None, ..start() })),
        ToRank::Stop { checkpoint: true },
        reply(Ok(StoreValue { value: vec![0, 255], number: -1, found: true })),
        reply(Err(StoreFault::Timeout("key".into()))),
        reply(Err(StoreFault::Superseded("generation 4 is live".into()))),
        reply(Err(StoreFault::Unreachable("refused".into()))),
        ToRank::MayCommit {
            checkpoint: CheckpointId::of(Step(120), Generation(3)),
            allowed: true,
            for_ms: 8_000,
        },
        ToRank::Keep { checkpoints: vec![CheckpointId::of(Step(120), Generation(3))] },
    ]);
}

#[test]
fn every_message_from_a_rank_survives_its_frame() {
    let line = v1::LogLine {
        level: v1::LogLevel::Warn.into(),
        rank: Some(1),
        message: "naïve — ok".into(),
        fields: [("step".to_owned(), "12".to_owned())].into(),
        ..Default::default()
    };
    let failure = v1::Failure { message: "loss is not finite".into(), rank: Some(1), ..Default::default() };
    let result = v1::JobResult { metrics: [("knn".to_owned(), 84.7)].into(), ..Default::default() };
    round_trip(&[
        FromRank::Hello { version: "0.1.0".into(), pid: 42 },
        FromRank::Meeting,
        training(),
        FromRank::Progress(Wire(v1::Progress { step: 9, loss: f64::INFINITY, ..Default::default() })),
        FromRank::Points(vec![Wire(v1::MetricPoint {
            series: "loss".into(),
            value: 0.5,
            ..Default::default()
        })]),
        FromRank::Points(Vec::new()),
        FromRank::Line(Wire(line)),
        FromRank::AskCommit { checkpoint: CheckpointId::of(Step(120), Generation(3)) },
        FromRank::Committed(Wire(checkpoint())),
        FromRank::Finished(Wire(result)),
        FromRank::Stopped,
        FromRank::Failed(Wire(failure)),
    ]);
}

#[test]
fn every_store_operation_survives_its_frame() {
    let key = String::from("meeting/0");
    let operations = [
        StoreOperation::Set { key: key.clone(), value: vec![1, 2] },
        StoreOperation::Get { key: key.clone(), timeout_ms: u32::MAX },
        StoreOperation::Add { key: key.clone(), amount: i64::MIN },
        StoreOperation::CompareSet { key: key.clone(), expected: Vec::new(), desired: vec![1] },
        StoreOperation::Wait { keys: vec![key.clone(), String::new()], timeout_ms: 0 },
        StoreOperation::Check { keys: vec![key.clone()] },
        StoreOperation::Delete { key: key.clone() },
        StoreOperation::CountKeys,
        StoreOperation::Append { key, value: vec![3] },
    ];
    let call = |(call, operation)| FromRank::StoreCall { call, generation: Generation(3), operation };
    round_trip(&(0..).zip(operations).map(call).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_an_error() {
    let mut stream = Vec::new();
    write(&mut stream, &FromRank::Hello { version: "0.1.0".into(), pid: 42 })
        .expect("a Vec takes every frame");
    for length in 1..stream.len() {
        match read::<FromRank>(&mut Cursor::new(&stream[..length])) {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "cut at {length}"),
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_its_body_is_read() {
    let mut stream = Cursor::new(u32::MAX.to_be_bytes());
    assert!(
        matches!(read::<FromRank>(&mut stream), Err(Error::TooLong(length)) if length == u32::MAX as usize)
    );
    let value = vec![0; MAX_FRAME_BYTES];
    let set = FromRank::StoreCall {
        call: 1,
        generation: Generation(3),
        operation: StoreOperation::Set { key: "k".into(), value },
    };
    let mut written = Vec::new();
    assert!(matches!(write(&mut written, &set), Err(Error::TooLong(_))));
    assert!(written.is_empty(), "nothing of a refused frame is written");
}

#[test]
fn bytes_after_the_message_are_refused() {
    let mut body = encode(&FromRank::Meeting).expect("short");
    body.push(0);
    assert!(matches!(decode::<FromRank>(&body), Err(Error::Trailing(1))));
}

#[test]
fn an_interrupted_read_is_tried_again() {
    struct Interrupted<R>(bool, R);
    impl<R: Read> Read for Interrupted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 { Err(ErrorKind::Interrupted.into()) } else { self.1.read(buffer) }
        }
    }
    let mut stream = Vec::new();
    write(&mut stream, &training()).expect("a Vec takes every frame");
    let mut reader = Interrupted(false, Cursor::new(stream));
    assert_eq!(read(&mut reader).expect("decodes"), Some(training()));
    assert_eq!(read::<FromRank>(&mut reader).expect("a clean end"), None);
}

proptest! {
    #[test]
    fn no_stream_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut reader = Cursor::new(bytes);
        while let Ok(Some(_)) = read::<FromRank>(&mut reader) {}
    }

    #[test]
    fn no_body_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode::<FromRank>(&bytes);
        let _ = decode::<ToRank>(&bytes);
    }

    #[test]
    fn any_value_survives_its_frame(
        call in any::<u64>(),
        key in any::<String>(),
        value in prop::collection::vec(any::<u8>(), 0..512),
        step in any::<u64>(),
        loss in any::<f64>().prop_filter("NaN is not equal to itself", |loss| !loss.is_nan()),
    ) {
        round_trip(&[
            FromRank::StoreCall { call, generation: Generation(3), operation: StoreOperation::Append { key, value } },
            FromRank::Progress(Wire(v1::Progress { step, loss, ..Default::default() })),
        ]);
    }
}
