//! Who may import whom inside a crate, and how long a file may be.

use crate::sources::{Source, assert_none, lines_with, modules_used, sources};

fn rust(prefix: &'static str) -> Vec<Source> {
    sources(move |path| path.starts_with(prefix) && path.ends_with(".rs"))
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let long: Vec<String> =
        sources(|path| [".rs", ".cpp", ".h", ".proto", ".sh", ".py"].iter().any(|e| path.ends_with(e)))
            .iter()
            .map(|source| (source.text.lines().count(), &source.path))
            .filter(|&(lines, _)| lines > 400)
            .map(|(lines, path)| format!("{path}: {lines} lines"))
            .collect();
    assert_none("split by noun before a file passes 400 lines", &long);
}

#[test]
fn unsafe_code_stands_only_in_the_bridge() {
    let elsewhere = sources(|path| {
        path.ends_with(".rs") && !path.starts_with("worker/bridge/") && !path.starts_with("tests/tidy/")
    });
    assert_none("unsafe belongs into worker/bridge", &lines_with(&elsewhere, &["unsafe "]));
    let cpp =
        sources(|path| path.starts_with("worker/bridge/")).iter().any(|source| source.path.ends_with(".cpp"));
    assert!(cpp, "the bridge holds the C++");
    let stray: Vec<String> = sources(|_| true)
        .into_iter()
        .map(|source| source.path)
        .filter(|path| !path.starts_with("worker/bridge/"))
        .filter(|path| [".cc", ".cpp", ".h", ".hpp", ".cu"].iter().any(|end| path.ends_with(end)))
        .collect();
    assert_none("C++ belongs into worker/bridge", &stray);
}

#[test]
fn the_model_has_no_clock_no_input_or_output_and_no_async() {
    let forbidden = [
        "tokio",
        "async ",
        ".await",
        "std::fs",
        "std::net",
        "std::io",
        "Instant::now",
        "SystemTime::now",
        "sqlx",
        "tonic::",
        "std::thread",
        "rand::",
    ];
    assert_none("coordinator/src/model is pure", &lines_with(&rust("coordinator/src/model"), &forbidden));
}

#[test]
fn the_command_line_imports_the_contract_only() {
    assert_none(
        "the CLI talks to the coordinator, it does not contain it",
        &lines_with(&rust("coordinator/src/bin/kindred/"), &["kindred_coordinator"]),
    );
}

#[test]
fn training_does_not_know_grpc() {
    assert_none("a rank speaks to its agent only", &lines_with(&rust("worker/src/"), &["tonic"]));
}

#[test]
fn method_files_do_not_communicate() {
    // They are handed the other ranks, and pass them on to networks.
    let forbidden = ["ProcessGroup", "ranks.", "collective."];
    assert_none(
        "operations between ranks stay out of method files",
        &lines_with(&rust("worker/src/methods/"), &forbidden),
    );
}

#[test]
fn siblings_under_the_rank_do_not_import_one_another() {
    // `collective` and `nn` are the ground that the others stand on; `train` knows them all; `export` writes with the
    // tools of `checkpoint`.
    let siblings = ["optim", "checkpoint", "eval", "methods", "export", "train"];
    for folder in siblings.into_iter().filter(|folder| *folder != "train") {
        let is_forbidden = |other: &str| {
            other != folder && siblings.contains(&other) && (folder, other) != ("export", "checkpoint")
        };
        let own = sources(|path| {
            path.ends_with(".rs")
                && (path.starts_with(&format!("worker/src/{folder}/"))
                    || path == format!("worker/src/{folder}.rs"))
        });
        let hits: Vec<String> = own
            .iter()
            .flat_map(|source| modules_used(source).into_iter().map(|module| (&source.path, module)))
            .filter(|(_, module)| is_forbidden(module))
            .map(|(path, module)| format!("{path}: crate::{module}"))
            .collect();
        assert_none(&format!("{folder} knows its siblings"), &hits);
    }
}

#[test]
fn modules_are_seen_in_grouped_imports_too() {
    let text = "use crate::{\n    eval::{self, knn},\n    nn,\n};\nfn f() { crate::optim::x() }\n";
    let source = Source { path: "a.rs".into(), text: text.into() };
    assert_eq!(modules_used(&source), ["eval", "nn", "optim"]);
}

#[test]
fn every_tracked_script_says_what_it_is() {
    let silent: Vec<String> = sources(|path| path.ends_with(".sh") || path == ".ci/run")
        .into_iter()
        .filter(|source| {
            let mut lines = source.text.lines();
            !(lines.next().unwrap_or_default().starts_with("#!")
                && lines.next().unwrap_or_default().starts_with("# "))
        })
        .map(|source| source.path)
        .collect();
    assert_none("a script begins with what it does", &silent);
}
