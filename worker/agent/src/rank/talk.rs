//! The conversation between the agent and a rank over the rank's socket.

use std::{io, time::Duration};

use kindred_ipc::{FromRank, MAX_FRAME_BYTES, ToRank, Wire};
use kindred_proto::{failure::Reason, ids::CheckpointId, v1};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::StreamExt;
use tokio_util::{
    codec::{FramedRead, LengthDelimitedCodec},
    sync::CancellationToken,
};

use super::{Event, Launch, Outcome, Stop, Wires};
use crate::{
    config::HELLO_TIMEOUT,
    host::{Connection, Pending},
    reconcile::RankKey,
};

/// Answers that may wait for the rank to read them.
const ANSWERS: usize = 64;

/// Comes true once the rank calls.
type Call = Pending<'static, io::Result<Box<dyn Connection>>>;

type Frames<R> = FramedRead<R, LengthDelimitedCodec>;

type Reader = Frames<ReadHalf<Box<dyn Connection>>>;

type Writer = WriteHalf<Box<dyn Connection>>;

/// Why a conversation ended without the rank's last word.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("said nothing within {} s of its start", HELLO_TIMEOUT.as_secs())]
    NoHello,
    #[error("is of version {theirs}, its agent of version {ours}; install both from one build")]
    OtherVersion { theirs: String, ours: String },
    #[error("broke the protocol: {0}")]
    Protocol(String),
    #[error("said nothing for {} s: it is hung, and was killed", .0.as_secs_f64())]
    Hung(Duration),
    #[error("{0}")]
    Doomed(String),
    #[error("cannot be spoken to: {0}")]
    Io(#[from] io::Error),
}

/// That a conversation is over.
#[derive(Debug, Default)]
pub struct Over {
    /// It is.
    pub over: CancellationToken,
    /// It is because the rank is hung.
    pub is_hung: CancellationToken,
}

/// Speaks with the rank until it has said its last word, which is returned, or hangs up, or says nothing for too long.
pub async fn talk(launch: &Launch, wires: &Wires, call: Call, over: &Over) -> Option<Outcome> {
    let said = tokio::select! {
        biased;
        said = converse(launch, wires, call) => said,
        why = doomed(wires.doom.clone()) => Err(Error::Doomed(why)),
    };
    let error = match said {
        Ok(word) => return word,
        Err(error) => error,
    };
    let reason = match error {
        Error::Hung(_) | Error::Doomed(_) => Reason::RankHung,
        _ => Reason::RankExited,
    };
    if reason == Reason::RankHung {
        over.is_hung.cancel();
    }
    Some(Outcome::Failed(launch.failure(wires, reason, format_args!(" {error}"))))
}

/// Comes true once the coordinator says that the process hangs.
async fn doomed(mut doom: watch::Receiver<Option<String>>) -> String {
    match doom.wait_for(Option::is_some).await.map(|why| why.clone()) {
        Ok(Some(why)) => why,
        _ => std::future::pending().await,
    }
}

async fn converse(launch: &Launch, wires: &Wires, call: Call) -> Result<Option<Outcome>, Error> {
    let (mut frames, mut writer) = ends(timeout(HELLO_TIMEOUT, call).await.map_err(|_| Error::NoHello)??);
    let hello = timeout(HELLO_TIMEOUT, next(&mut frames)).await.map_err(|_| Error::NoHello)??;
    let Some(hello) = hello else { return Ok(None) };
    check(&hello, &launch.start.version)?;
    send(&mut writer, &ToRank::Start(Box::new(launch.start.clone()))).await?;
    let (answers, outgoing) = mpsc::channel(ANSWERS);
    tokio::select! {
        biased;
        word = listen(launch, wires, &mut frames, answers) => word,
        // A rank that no longer reads may still have said its last word.
        Err(_) = speak(&mut writer, outgoing, wires.clone()) => drain(launch, wires, &mut frames).await,
    }
}

fn ends(stream: Box<dyn Connection>) -> (Reader, Writer) {
    let (reader, writer) = split(stream);
    let codec = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec();
    (FramedRead::new(reader, codec), writer)
}

fn check(hello: &FromRank, ours: &str) -> Result<(), Error> {
    match hello {
        FromRank::Hello { version, .. } if version == ours => Ok(()),
        FromRank::Hello { version, .. } => {
            Err(Error::OtherVersion { theirs: version.clone(), ours: ours.to_owned() })
        }
        _ => Err(Error::Protocol("its first message is not Hello".to_owned())),
    }
}

/// The rank's next message; `None` when it hung up.
async fn next(frames: &mut Frames<impl tokio::io::AsyncRead + Unpin>) -> Result<Option<FromRank>, Error> {
    match frames.next().await {
        None => Ok(None),
        Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Some(Err(error)) => Err(Error::Protocol(error.to_string())),
        Some(Ok(body)) => {
            kindred_ipc::decode(&body).map(Some).map_err(|error| Error::Protocol(error.to_string()))
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), message: &ToRank) -> io::Result<()> {
    let mut frame = Vec::new();
    kindred_ipc::write(&mut frame, message).map_err(io::Error::other)?;
    writer.write_all(&frame).await
}

/// Reads what the rank says until its last word.
async fn listen(
    launch: &Launch,
    wires: &Wires,
    frames: &mut Frames<impl tokio::io::AsyncRead + Unpin>,
    answers: mpsc::Sender<ToRank>,
) -> Result<Option<Outcome>, Error> {
    let mut calls = JoinSet::new();
    while let Some(message) = next_in_time(launch, frames).await? {
        while calls.try_join_next().is_some() {}
        let event = match message {
            FromRank::StoreCall { call, generation, operation } => {
                let key = RankKey { generation, ..launch.key.clone() };
                let (store, answers) = (wires.store.clone(), answers.clone());
                calls.spawn(async move {
                    let outcome = store.call(&key, operation).await;
                    let _ = answers.send(ToRank::StoreReply { call, outcome }).await;
                });
                continue;
            }
            FromRank::AskCommit { checkpoint } => {
                let (answer, decided) = oneshot::channel();
                let (answers, asked) = (answers.clone(), checkpoint.clone());
                calls.spawn(async move {
                    let _ = answers.send(answer_about(asked, decided.await.unwrap_or(None))).await;
                });
                Event::AskCommit { checkpoint, answer }
            }
            FromRank::Alive => continue,
            other => match heard(launch, wires, other)? {
                Heard::Event(event) => event,
                Heard::LastWord(word) => return Ok(Some(word)),
            },
        };
        wires.tell(&launch.key, event).await;
    }
    Ok(None)
}

async fn next_in_time(
    launch: &Launch,
    frames: &mut Frames<impl tokio::io::AsyncRead + Unpin>,
) -> Result<Option<FromRank>, Error> {
    let Some(patience) = launch.hang_grace else { return next(frames).await };
    timeout(patience, next(frames)).await.map_err(|_| Error::Hung(patience))?
}

/// The answer to a rank that wants to commit.
fn answer_about(checkpoint: CheckpointId, allowed_for: Option<Duration>) -> ToRank {
    let for_ms = allowed_for.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    ToRank::MayCommit { checkpoint, allowed: allowed_for.is_some(), for_ms }
}

/// Reads on when nothing can be written any more.
async fn drain(
    launch: &Launch,
    wires: &Wires,
    frames: &mut Frames<impl tokio::io::AsyncRead + Unpin>,
) -> Result<Option<Outcome>, Error> {
    let (answers, _) = mpsc::channel(1);
    listen(launch, wires, frames, answers).await
}

/// Writes answers, and what the rank is to do once it is there. Ends only when the rank cannot be written to.
async fn speak(
    writer: &mut (impl AsyncWrite + Unpin),
    mut outgoing: mpsc::Receiver<ToRank>,
    Wires { mut stop, mut regroup, mut kept, .. }: Wires,
) -> io::Result<std::convert::Infallible> {
    let mut is_asked = false;
    loop {
        let stop_asked = async { stop.wait_for(Option::is_some).await.map_or(None, |stop| *stop) };
        let message = tokio::select! {
            biased;
            Some(answer) = outgoing.recv() => answer,
            Some(Stop { checkpoint }) = stop_asked, if !is_asked => {
                is_asked = true;
                ToRank::Stop { checkpoint }
            }
            Ok(()) = regroup.changed() => match regroup.borrow_and_update().clone() {
                Some(start) => ToRank::Regroup(start),
                None => continue,
            },
            Ok(()) = kept.changed() => ToRank::Keep { checkpoints: kept.borrow_and_update().clone() },
            else => std::future::pending().await,
        };
        send(writer, &message).await?;
    }
}

enum Heard {
    Event(Event),
    LastWord(Outcome),
}

/// What a message without an answer means.
fn heard(launch: &Launch, wires: &Wires, message: FromRank) -> Result<Heard, Error> {
    Ok(match message {
        FromRank::Meeting => Heard::Event(Event::Meeting),
        FromRank::Training { generation, began_at } => Heard::Event(Event::Training { generation, began_at }),
        FromRank::Parted(Wire(failure)) => Heard::Event(Event::Parted(launch.attribute(
            wires,
            v1::LogLine { level: v1::LogLevel::Warn.into(), message: failure.message, ..Default::default() },
        ))),
        FromRank::Stalled(stall) => Heard::Event(Event::Stalled(stall.map(|Wire(stall)| stall))),
        FromRank::Progress(Wire(progress)) => Heard::Event(Event::Progress(progress)),
        FromRank::Points(points) => {
            // What a process says late belongs to the generation in which it measured it, not to the one that it joined.
            let (first, newest) = (launch.key.generation.0, launch.now(wires).generation.0);
            let own = |Wire(point): Wire<v1::MetricPoint>| v1::MetricPoint {
                generation: point.generation.clamp(first, newest),
                ..point
            };
            Heard::Event(Event::Points(points.into_iter().map(own).collect()))
        }
        FromRank::Line(Wire(line)) => Heard::Event(Event::Line(launch.attribute(wires, line))),
        FromRank::Committed(Wire(checkpoint)) => Heard::Event(Event::Committed(checkpoint)),
        FromRank::Finished(Wire(result)) => Heard::LastWord(Outcome::Finished(result)),
        FromRank::Stopped => Heard::LastWord(Outcome::Stopped),
        FromRank::Failed(Wire(failure)) => {
            let (node_id, rank) = (launch.start.node_id.to_string(), Some(launch.now(wires).rank.0));
            Heard::LastWord(Outcome::Failed(kindred_proto::v1::Failure { node_id, rank, ..failure }))
        }
        FromRank::Hello { .. } | FromRank::Alive => {
            return Err(Error::Protocol("it says Hello twice".to_owned()));
        }
        FromRank::StoreCall { .. } | FromRank::AskCommit { .. } => {
            return Err(Error::Protocol("a question came where none is answered".to_owned()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_of_another_build_is_refused_with_both_versions() {
        let hello = |version: &str| FromRank::Hello { version: version.into(), pid: 1 };
        assert!(check(&hello("1.2.3"), "1.2.3").is_ok());
        let text = check(&hello("1.2.2"), "1.2.3").expect_err("another version").to_string();
        assert!(text.contains("1.2.2") && text.contains("1.2.3"), "{text}");
        assert!(check(&FromRank::Meeting, "1.2.3").is_err());
    }
}
