//! The programs with TLS, as people start them.

use std::{fs, path::Path, process::Output};

use tokio::process::Command;

use crate::{
    cli::{JOB, text},
    process::Program,
};

/// A coordinator with an authority of its own, once it answers.
async fn start(state: &Path) -> (Program, String) {
    start_with(state, &[]).await
}

/// The same with further options.
pub async fn start_with(state: &Path, more: &[&str]) -> (Program, String) {
    let listen = ["--listen", "127.0.0.1:0", "--tls", "auto"];
    let args = [&["--state", state.to_str().expect("plain")][..], &listen, more].concat();
    let mut coordinator = Program::start(env!("CARGO_BIN_EXE_kindred-coordinator"), &args);
    coordinator.line_with("listening").await;
    if !state.join("admin-token").exists() {
        coordinator.line_with("the first admin's token was written").await;
    }
    let address = fs::read_to_string(state.join("address")).expect("written before the line");
    (coordinator, address.trim().to_owned())
}

/// Runs `kindred` with this token.
async fn kindred(state: &Path, address: &str, token: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kindred"));
    command.env_remove("KINDRED_COORDINATOR").env("KINDRED_TOKEN", token);
    command.arg("--tls-ca").arg(state.join("tls/ca.pem")).args(["--coordinator", address]);
    command.args(args).kill_on_drop(true).output().await.expect("the program starts")
}

pub fn admin(state: &Path) -> String {
    fs::read_to_string(state.join("admin-token")).expect("written at the first start").trim().to_owned()
}

#[tokio::test]
async fn others_are_not_listened_to_without_tls() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let args = ["--listen", "0.0.0.0:0", "--state", state.path().to_str().expect("plain")];
    let mut refused = Program::start(env!("CARGO_BIN_EXE_kindred-coordinator"), &args);
    let line = refused.line_with("ERROR").await;
    for part in ["0.0.0.0:0", "--tls auto", "--allow-insecure"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert_eq!(refused.code().await, Some(1));
}

#[tokio::test]
async fn tokens_outlive_the_coordinator_and_their_secrets_are_nowhere() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let (mut coordinator, address) = start(state.path()).await;
    let create = ["tokens", "create", "--name", "ci", "--role", "submitter", "--project", "vision"];
    let created = kindred(state.path(), &address, &admin(state.path()), &create).await;
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    let token = text(&created.stdout).trim().to_owned();
    let submitted = kindred(state.path(), &address, &token, &["submit", JOB]).await;
    assert_eq!(submitted.status.code(), Some(0), "{}", text(&submitted.stderr));
    // Audit events are written a little later than calls are answered, and before they are read.
    kindred(state.path(), &address, &admin(state.path()), &["events", "--audit"]).await;
    coordinator.signal(rustix::process::Signal::KILL);
    coordinator.code().await;

    let (_coordinator, address) = start(state.path()).await;
    let jobs = text(&kindred(state.path(), &address, &token, &["jobs"]).await.stdout);
    assert!(jobs.contains("job-1"), "{jobs}");
    // `kindred_ID_SECRET`; a secret may hold an underscore itself.
    let secret = token.splitn(3, '_').nth(2).expect("its secret comes last");
    assert_eq!(secret.len(), 43, "all of its 256 bits are looked for");
    for entry in fs::read_dir(state.path()).expect("a folder") {
        let file = entry.expect("readable").path();
        if file.is_file() {
            let bytes = fs::read(&file).expect("readable");
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", file.display());
        }
    }
    let listed =
        text(&kindred(state.path(), &address, &admin(state.path()), &["tokens", "list"]).await.stdout);
    assert!(listed.contains("ci") && listed.contains("submitter") && listed.contains("vision"), "{listed}");
    let denied = kindred(state.path(), &address, &token, &["nodes", "join-token"]).await;
    assert!(text(&denied.stderr).contains("role is submitter"), "{}", text(&denied.stderr));
    let events = kindred(state.path(), &address, &admin(state.path()), &["events", "--audit"]).await;
    let events = text(&events.stdout);
    for part in ["JobService/CreateJob", "token ci (", "PermissionDenied", "AccessService/CreateJoinToken"] {
        assert!(events.contains(part), "{part} is not in\n{events}");
    }
}

#[tokio::test]
async fn a_caller_without_a_token_is_told_how_to_show_one() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let (_coordinator, address) = start(state.path()).await;
    let refused = kindred(state.path(), &address, "", &["jobs"]).await;
    assert_ne!(refused.status.code(), Some(0));
    assert!(text(&refused.stderr).contains("KINDRED_TOKEN"), "{}", text(&refused.stderr));
    let mut plain = Command::new(env!("CARGO_BIN_EXE_kindred"));
    plain.env_remove("KINDRED_TLS_CA").args(["jobs", "--coordinator", &address]).kill_on_drop(true);
    let plain = plain.output().await.expect("the program starts");
    assert_eq!(plain.status.code(), Some(3), "{}", text(&plain.stderr));
    assert!(text(&plain.stderr).contains("--tls-ca"), "{}", text(&plain.stderr));
}
