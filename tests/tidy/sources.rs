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

/// Lines of code that contain one of `words`, as `path:line: text`. Comments do not count.
pub fn lines_with(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                hits.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    hits
}

/// Fails with the list of hits.
pub fn assert_none(rule: &str, hits: &[String]) {
    assert!(hits.is_empty(), "{rule}:\n{}", hits.join("\n"));
}
