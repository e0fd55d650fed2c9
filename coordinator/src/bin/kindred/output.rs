//! Where text goes: results to standard output, everything else to standard error.

use std::io::{self, Write};

use prost::Message;
use serde_json::Value;

use crate::args::Format;

/// Prints a line for people; a closed standard error is nobody's problem.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a result.
pub fn result(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
    {
        // The reader has seen enough, as in `kindred logs … | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done,
    }
}

/// A message in the API's JSON form.
pub fn value<M: Message>(message: &M, name: &str) -> Value {
    kindred_proto::json::to_value(message, &format!("kindred.v1.{name}"))
}

/// Prints messages: as the table, or as a list in the form asked for.
pub fn list<M: Message>(
    format: Format,
    messages: &[M],
    name: &str,
    table: impl FnOnce() -> Table,
) -> io::Result<()> {
    let values = || messages.iter().map(|message| value(message, name)).collect();
    match format {
        Format::Table => result(&table().to_string()),
        _ => document(format, &Value::Array(values())),
    }
}

/// Prints a document as JSON or YAML.
pub fn document(format: Format, value: &Value) -> io::Result<()> {
    let text = match format {
        Format::Yaml => serde_yaml_ng::to_string(value).map_err(io::Error::other)?,
        _ => serde_json::to_string_pretty(value).map_err(io::Error::other)?,
    };
    result(text.trim_end())
}

/// Columns for people, as wide as what is in them.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<T: ToString>(headings: impl IntoIterator<Item = T>) -> Self {
        Self { rows: vec![headings.into_iter().map(|heading| heading.to_string()).collect()] }
    }

    /// Adds a row of as many cells; an empty one is shown as `-`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths: Vec<usize> = (0..self.rows[0].len()).map(|column| self.width(column)).collect();
        for (idx, row) in self.rows.iter().enumerate() {
            let line: String =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
            let end = if idx + 1 == self.rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["ID", "STATE", "REASON"]);
        table.row(["job-1".into(), "RUNNING".into(), String::new()]);
        table.row(["job-10".into(), "OK".into(), "why not".into()]);
        assert_eq!(
            table.to_string(),
            "ID      STATE    REASON\njob-1   RUNNING  -\njob-10  OK       why not"
        );
    }
}
