//! The crate's one error, made of whatever C++ threw.

use std::fmt;

/// What a caller can do differently about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nobody answered in time: a peer hangs, or the network does.
    Timeout,
    /// A peer is gone: its connection ended.
    PeerLost,
    /// The device or the host has no memory left.
    OutOfMemory,
    /// This build or this machine does not have what was asked for.
    Unavailable,
    /// Anything else: a mistake in the call, most of the time.
    Other,
}

impl ErrorKind {
    const ALL: [ErrorKind; 5] = [
        ErrorKind::Timeout,
        ErrorKind::PeerLost,
        ErrorKind::OutOfMemory,
        ErrorKind::Unavailable,
        ErrorKind::Other,
    ];
}

/// A failure of libtorch, or of the [`KeyValueStore`](crate::KeyValueStore) it asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What a caller can do about it.
    pub kind: ErrorKind,
    /// What happened, with what was being done in front.
    pub message: String,
}

impl Error {
    /// Makes an error, as a [`KeyValueStore`](crate::KeyValueStore) does for its answers.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// Puts what was being done in front of the message.
    pub(crate) fn during(self, action: impl fmt::Display) -> Error {
        Error { kind: self.kind, message: format!("{action}: {}", self.message) }
    }
}

/// Stands between the type and the text of an exception in what cpp/errors.cpp makes of it.
const TYPE_END: char = '\u{1f}';
/// Stands behind the kind of an error of ours that crosses C++, where it may get into the text of another one.
const KIND_END: char = '\u{1e}';

impl From<cxx::Exception> for Error {
    fn from(exception: cxx::Exception) -> Error {
        let (type_name, text) = exception.what().split_once(TYPE_END).unwrap_or(("", exception.what()));
        for kind in ErrorKind::ALL {
            let mark = format!("{kind:?}{KIND_END}");
            if text.contains(&mark) {
                return Error::new(kind, text.replace(&mark, ""));
            }
        }
        Error::new(classify(type_name, text), text.trim_end())
    }
}

/// An error on its way into C++, where only its text survives.
pub(crate) struct Outbound(pub Error);

impl fmt::Display for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{KIND_END}{}", self.0.kind, self.0.message)
    }
}

/// Finds the kind of an exception. Gloo has one type for all its trouble, so the text decides where the type does not.
fn classify(type_name: &str, text: &str) -> ErrorKind {
    const OUT_OF_MEMORY: [&str; 3] = ["out of memory", "can't allocate memory", "bad_alloc"];
    const UNAVAILABLE: [&str; 3] = ["no gpus found", "no cuda gpus", "this build has no"];
    // Before PEER_LOST: a pair that a time-out closed also says that it is closed.
    const TIMEOUT: [&str; 3] = ["timed out", "timeout", "time-out"];
    const PEER_LOST: [&str; 8] = [
        "connection closed",
        "connection reset",
        "connection refused",
        "broken pipe",
        "socket closed",
        "not connected",
        "remote process exited",
        "no route to host",
    ];
    let text = text.to_lowercase();
    let says = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if type_name == "c10::OutOfMemoryError" || type_name == "std::bad_alloc" || says(&OUT_OF_MEMORY) {
        ErrorKind::OutOfMemory
    } else if says(&UNAVAILABLE) {
        ErrorKind::Unavailable
    } else if type_name == "c10d::TimeoutError" || says(&TIMEOUT) {
        ErrorKind::Timeout
    } else if says(&PEER_LOST) {
        ErrorKind::PeerLost
    } else {
        ErrorKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_told_apart_by_type_and_text() {
        let table = [
            ("c10::OutOfMemoryError", "CUDA ran dry", ErrorKind::OutOfMemory),
            ("c10::Error", "DefaultCPUAllocator: can't allocate memory: you tried", ErrorKind::OutOfMemory),
            (
                "c10::Error",
                "ProcessGroupNCCL is only supported with GPUs, no GPUs found!",
                ErrorKind::Unavailable,
            ),
            ("gloo::IoException", "[pair.cc:9] Connection closed by peer [127.0.0.1]:9", ErrorKind::PeerLost),
            (
                "gloo::IoException",
                "Timed out waiting 500ms for recv operation to complete",
                ErrorKind::Timeout,
            ),
            ("gloo::IoException", "Application timeout caused pair closure", ErrorKind::Timeout),
            ("c10d::TimeoutError", "wait", ErrorKind::Timeout),
            ("c10::Error", "sizes differ", ErrorKind::Other),
        ];
        for (type_name, text, kind) in table {
            assert_eq!(classify(type_name, text), kind, "{type_name}: {text}");
        }
    }
}
