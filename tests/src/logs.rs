//! The logs of a cluster: what a test does not expect in them is a fault.

use std::{fs, io, path::Path};

/// Lines of level WARN or ERROR in the `*.log` files of `folder` that no entry of `expected` is part of.
///
/// # Errors
/// When a log cannot be read.
pub fn unexpected(folder: &Path, expected: &[&str]) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for (name, text) in logs(folder)? {
        for line in text.lines().map(plain) {
            let is_loud = [" WARN ", " ERROR ", "panicked at"].iter().any(|level| line.contains(level));
            if is_loud && !expected.iter().any(|text| line.contains(text)) {
                lines.push(format!("{name}: {line}"));
            }
        }
    }
    Ok(lines)
}

/// The last lines of every log.
pub fn tails(folder: &Path) -> String {
    let Ok(logs) = logs(folder) else { return String::new() };
    let mut text = String::new();
    for (name, log) in logs {
        let lines: Vec<&str> = log.lines().collect();
        text.push_str(&format!("== {name}\n"));
        for line in &lines[lines.len().saturating_sub(40)..] {
            text.push_str(&plain(line));
            text.push('\n');
        }
    }
    text
}

fn logs(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            logs.push((name, String::from_utf8_lossy(&fs::read(&path)?).into_owned()));
        }
    }
    logs.sort();
    Ok(logs)
}

/// The line without colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('\u{1b}') {
        text.push_str(&rest[..start]);
        rest = rest[start..].find('m').map_or("", |end| &rest[start + end + 1..]);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_nobody_expects_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("a.log"),
            "1 \u{1b}[33m WARN \u{1b}[0mnode lost\n2 INFO fine\n3 ERROR disk\n",
        )
        .unwrap();
        assert_eq!(unexpected(folder.path(), &["node lost"]).unwrap(), ["a.log: 3 ERROR disk"]);
    }
}
