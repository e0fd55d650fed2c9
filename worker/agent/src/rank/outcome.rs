//! What became of a rank, from its last word and the end of its process.

use std::os::unix::process::ExitStatusExt;

use kindred_proto::{failure::Reason, v1};

use super::{Launch, Wires, output::Tail, process::End};

/// What became of a rank.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It did all steps and wrote everything.
    Finished(v1::JobResult),
    /// It stopped because it was asked to.
    Stopped,
    /// It could not go on.
    Failed(v1::Failure),
}

/// Decides: the last word counts; without one, the end of a rank that was asked to stop is a stop, and any other a
/// failure that carries the last lines of standard error.
pub fn outcome(launch: &Launch, wires: &Wires, said: Option<Outcome>, end: &End, tail: &Tail) -> Outcome {
    match said {
        Some(word) => word,
        None if end.was_asked => Outcome::Stopped,
        None => {
            let mut message = format!(" {}", manner(end));
            let tail = tail.text();
            if !tail.is_empty() {
                message = format!("{message}; its last lines:\n{tail}");
            }
            Outcome::Failed(launch.failure(wires, Reason::RankExited, message))
        }
    }
}

/// How the process ended, in words.
fn manner(end: &End) -> String {
    let status = match &end.status {
        Ok(status) => status,
        Err(error) => return format!("is gone, how is not known: {error}"),
    };
    match (status.signal(), status.code()) {
        (Some(9), _) if end.was_killed => "hung up and was killed".to_owned(),
        (Some(9), _) => "ended by signal 9 (SIGKILL): by hand, or for want of memory".to_owned(),
        (Some(signal), _) => format!("ended by signal {signal} ({})", signal_name(signal)),
        (None, Some(137)) => "ended with code 137: for want of memory, most likely".to_owned(),
        (None, Some(code)) => format!("ended with code {code} without a word"),
        (None, None) => "ended without a word".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => "no name here",
    }
}
