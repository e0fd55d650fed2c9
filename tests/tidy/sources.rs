//! The files under version control, and how to look through them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root").to_path_buf()
}

/// A file and its text; the path is relative to the checkout.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// Files that git tracks, or would track, whose path satisfies `wanted`.
pub fn sources(wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files of a checkout");
    assert!(listing.status.success(), "git ls-files failed");
    let listing = String::from_utf8(listing.stdout).expect("paths are UTF-8");
    let found: Vec<Source> = listing
        .lines()
        .filter(|path| wanted(path) && root().join(path).is_file())
        .filter_map(|path| {
            let text = fs::read_to_string(root().join(path)).ok()?;
            Some(Source { path: path.into(), text })
        })
        .collect();
    assert!(!found.is_empty(), "no file matched: has a folder moved?");
    found
}

/// Lines of code that contain one of `words`, as `path:line: text`. Comments and a file's own tests do not count.
pub fn lines_with(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    for source in sources {
        let code = source.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        for (number, line) in code.enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                hits.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    hits
}

/// First-level modules of its own crate that a file names, its own tests left out: `crate::a::b` and `use crate::{a, b}`.
pub fn modules_used(source: &Source) -> Vec<String> {
    let code: Vec<&str> = source
        .text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join(" ");
    let mut modules = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(group_heads(group)),
            None => modules.push(first_word(rest)),
        }
    }
    modules
}

/// The first word of each entry of a group, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut is_head, mut heads) = (0, true, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_head = true,
            _ if is_head && !letter.is_whitespace() => {
                heads.push(first_word(&group[at..]));
                is_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Fails with the list of hits.
pub fn assert_none(rule: &str, hits: &[String]) {
    assert!(hits.is_empty(), "{rule}:\n{}", hits.join("\n"));
}
