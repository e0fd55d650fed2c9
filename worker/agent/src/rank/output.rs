//! What a rank writes to its standard output and error, line by line.

use std::{collections::VecDeque, sync::Mutex};

use kindred_proto::v1;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use super::{Event, Launch, Wires};
use crate::{
    host::Pipe,
    telemetry::{LINE_BYTES, cut},
};

/// Lines of standard error that are kept for the failure.
const TAIL_LINES: usize = 50;

/// Bytes of them that a failure carries.
const TAIL_BYTES: usize = 4 << 10;

/// The last lines of standard error.
#[derive(Debug, Default)]
pub struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The lines, oldest first; of too many bytes the first go.
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut room = TAIL_BYTES;
        let fits = lines.iter().rev().take_while(|line| {
            let is_first = room == TAIL_BYTES;
            room = room.saturating_sub(line.len() + 1);
            is_first || room > 0
        });
        let mut kept: Vec<String> = fits.cloned().collect();
        kept.reverse();
        let mut text = kept.join("\n");
        cut(&mut text, TAIL_BYTES);
        text
    }
}

/// Reads standard output and error until the process, and whoever holds them, closes them.
pub async fn pump(launch: &Launch, wires: &Wires, (stdout, stderr): (Pipe, Pipe), tail: &Tail) {
    let say = async |default, line: String| {
        let level = level_of(&line).unwrap_or(default);
        let line = v1::LogLine { level: level.into(), message: line, ..Default::default() };
        wires.tell(&launch.key, Event::Line(launch.attribute(wires, line))).await;
    };
    let stdout = async {
        let mut lines = Lines::new(stdout);
        while let Some(line) = lines.next().await {
            say(v1::LogLevel::Info, line).await;
        }
    };
    let stderr = async {
        let mut lines = Lines::new(stderr);
        while let Some(line) = lines.next().await {
            tail.push(&line);
            say(v1::LogLevel::Warn, line).await;
        }
    };
    tokio::join!(stdout, stderr);
}

/// The lines of a pipe.
struct Lines<R> {
    reader: BufReader<R>,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(pipe: R) -> Self {
        Self { reader: BufReader::new(pipe), buffer: Vec::new() }
    }

    /// The next line that is not empty; one that is too long comes in pieces. `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            self.buffer.clear();
            let mut piece = (&mut self.reader).take(LINE_BYTES as u64);
            if piece.read_until(b'\n', &mut self.buffer).await.ok()? == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&self.buffer);
            let text = text.trim_end();
            if !text.is_empty() {
                return Some(text.to_owned());
            }
        }
    }
}

/// The level that a line names right after its time, as this project's own programs write it.
fn level_of(line: &str) -> Option<v1::LogLevel> {
    let mut words = line.split_ascii_whitespace();
    let time = words.next()?;
    let is_time = time.len() >= 20 && time.as_bytes().get(10) == Some(&b'T') && time.ends_with('Z');
    match words.next().filter(|_| is_time)? {
        "TRACE" | "DEBUG" => Some(v1::LogLevel::Debug),
        "INFO" => Some(v1::LogLevel::Info),
        "WARN" => Some(v1::LogLevel::Warn),
        "ERROR" => Some(v1::LogLevel::Error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_read_from_our_own_lines_only() {
        assert_eq!(level_of("2026-11-21T23:30:15.123456Z ERROR rank: no"), Some(v1::LogLevel::Error));
        assert_eq!(level_of("2026-11-21T23:30:15Z  INFO rank: yes"), Some(v1::LogLevel::Info));
        assert_eq!(level_of("ERROR something of someone else"), None);
        assert_eq!(level_of("terminate called after ERROR"), None);
        assert_eq!(level_of(""), None);
    }

    #[test]
    fn the_tail_keeps_the_last_lines_within_its_bytes() {
        let tail = Tail::default();
        for number in 0..TAIL_LINES + 2 {
            tail.push(&number.to_string());
        }
        let text = tail.text();
        assert!(text.starts_with("2\n3\n") && text.ends_with("\n51"), "{text}");
        tail.push(&"x".repeat(TAIL_BYTES * 2));
        assert!(tail.text().len() <= TAIL_BYTES + "…".len());
    }

    #[tokio::test]
    async fn lines_come_whole_empty_ones_not_at_all_and_long_ones_in_pieces() {
        let text = format!("one\n\ntw\u{f6}\r\n{}\nlast", "x".repeat(LINE_BYTES + 5));
        let mut lines = Lines::new(text.as_bytes());
        let mut lengths = Vec::new();
        while let Some(line) = lines.next().await {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [3, 4, LINE_BYTES, 5, 4]);
    }
}
