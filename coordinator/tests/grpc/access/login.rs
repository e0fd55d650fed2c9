//! `kindred login`, `whoami` and `logout`, as people type them, at a provider of the test's own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use kindred_tests::{issuer::Issuer, signer::Signer};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use super::process::{admin, start_with};
use crate::{
    cli::{JOB, text},
    fixture::PATIENCE,
    process::Program,
};

/// A provider, a coordinator that trusts it, and the home of somebody.
struct Place {
    provider: Issuer,
    folder: TempDir,
    coordinator: Program,
    address: String,
}

impl Place {
    /// `more` is said of the provider in the file of `--oidc`.
    async fn start(more: &str) -> Self {
        let provider = Issuer::start(Signer::p256("first")).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let oidc = folder.path().join("oidc.yaml");
        let text = format!(
            "issuers:\n- url: {}\n  client_id: kindred\n  name_claim: preferred_username\n  grants:\n  \
             - {{group: vision, role: submitter, project: vision}}\n{more}",
            provider.url
        );
        fs::write(&oidc, text).expect("writable");
        let args = ["--oidc", oidc.to_str().expect("plain")];
        let (coordinator, address) = start_with(&folder.path().join("state"), &args).await;
        Self { provider, folder, coordinator, address }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kindred"));
        for variable in ["KINDRED_COORDINATOR", "KINDRED_TOKEN", "KINDRED_TOKEN_FILE"] {
            command.env_remove(variable);
        }
        command.env("XDG_CONFIG_HOME", self.folder.path().join("config"));
        command.arg("--tls-ca").arg(self.state().join("tls/ca.pem")).args(["--coordinator", &self.address]);
        command.args(args).kill_on_drop(true);
        command
    }

    /// Exit code, standard output and standard error.
    async fn kindred(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(args).output().await.expect("the program starts");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Signs in as somebody of whom this is said.
    async fn sign_in(&self, claims: Value) -> (Option<i32>, String) {
        let mut login = Program::run(self.command(&["login"]));
        let line = login.line_with("and enter").await;
        let code = line.split_whitespace().last().expect("the code comes last").to_owned();
        assert!(self.provider.approve(&code, claims), "{line}");
        let said = login.line_with(":").await;
        (login.code().await, said)
    }

    fn session(&self) -> Option<PathBuf> {
        let folder = self.folder.path().join("config/kindred/sessions");
        let mut files = fs::read_dir(folder).ok()?.map(|entry| entry.expect("readable").path());
        files.find(|file| has_end(file, "json"))
    }
}

fn has_end(file: &Path, end: &str) -> bool {
    file.extension().is_some_and(|extension| extension == end)
}

fn ada() -> Value {
    json!({"preferred_username": "ada", "groups": ["vision"]})
}

#[tokio::test]
async fn somebody_signs_in_submits_a_job_and_signs_out() {
    let place = Place::start("").await;
    let (code, _, said) = place.kindred(&["whoami"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("KINDRED_TOKEN") && said.contains("kindred login"), "{said}");

    let (code, said) = place.sign_in(ada()).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said, "signed in as ada: submitter of vision");
    let file = place.session().expect("the sign-in is kept");
    assert_eq!(fs::metadata(&file).expect("readable").permissions().mode() & 0o777, 0o600);

    let (code, who, error) = place.kindred(&["whoami"]).await;
    assert_eq!(code, Some(0), "{error}");
    for line in ["name     ada", "subject  7f3", "groups   vision", "may      submitter of vision"] {
        assert!(who.contains(line), "{line:?} is not in\n{who}");
    }
    let (code, job, error) = place.kindred(&["submit", JOB]).await;
    assert_eq!((code, job.trim()), (Some(0), "job-1"), "{error}");
    let (code, _, error) = place.kindred(&["nodes", "join-token"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("your role is submitter, and this takes admin"), "{error}");

    // A token goes before the sign-in, be it Kindred's or a JWT.
    let shown = |token: String| {
        let mut command = place.command(&["whoami", "-o", "json"]);
        command.env("KINDRED_TOKEN", token);
        async move { text(&command.output().await.expect("the program starts").stdout) }
    };
    let who: Value = serde_json::from_str(&shown(admin(&place.state())).await).expect("JSON");
    assert_eq!(who["name"], "first-admin");
    let robot = place.provider.token(&json!({"sub": "ci", "groups": ["vision"]}));
    let who: Value = serde_json::from_str(&shown(robot).await).expect("JSON");
    assert_eq!((&who["subject"], &who["grants"][0]["role"]), (&json!("ci"), &json!("ROLE_SUBMITTER")));

    assert_eq!(place.kindred(&["logout"]).await.0, Some(0));
    assert_eq!(place.session(), None);
    assert_eq!(place.kindred(&["jobs"]).await.0, Some(1));
    let (code, _, said) = place.kindred(&["logout"]).await;
    assert_eq!(code, Some(0));
    assert!(said.contains("nobody is signed in"), "{said}");
}

#[tokio::test]
async fn a_sign_in_is_renewed_without_a_word_until_the_provider_says_no() {
    let place = Place::start("").await;
    // What was given is over at once: each command needs a new one.
    place.provider.set_token_life(Duration::ZERO);
    assert_eq!(place.sign_in(ada()).await.0, Some(0));
    let n_before = place.provider.n_renewals();
    // Each renewal uses its token up, so that these must take turns.
    let who = ["whoami"];
    let ((one, ..), (two, ..), (three, _, error)) =
        tokio::join!(place.kindred(&who), place.kindred(&who), place.kindred(&who));
    assert_eq!((one, two, three), (Some(0), Some(0), Some(0)), "{error}");
    assert!(place.provider.n_renewals() >= n_before + 3);
    assert_eq!(error, "");

    place.provider.be_away(true);
    let (code, _, error) = place.kindred(&["whoami"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(&place.provider.url), "{error}");
    place.provider.be_away(false);
    place.provider.forget_everyone();
    let (code, _, error) = place.kindred(&["whoami"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("invalid_grant") && error.contains("kindred login"), "{error}");
    assert_eq!(place.sign_in(ada()).await.0, Some(0), "signing in again helps");
}

#[tokio::test]
async fn a_job_is_watched_for_longer_than_a_token_is_good() {
    let place = Place::start("  clock_skew_s: 0\n").await;
    place.provider.set_token_life(Duration::from_secs(3));
    assert_eq!(place.sign_in(ada()).await.0, Some(0));
    let (code, job, error) = place.kindred(&["submit", JOB]).await;
    assert_eq!(code, Some(0), "{error}");
    let mut watch = Program::run(place.command(&["watch", job.trim()]));
    watch.line_with("is pending").await;
    let two_more = place.provider.renewals_reach(place.provider.n_renewals() + 2);
    timeout(PATIENCE, two_more).await.expect("renewed in time");
    let mut cancel = place.command(&["cancel", job.trim()]);
    let cancelled = cancel.env("KINDRED_TOKEN", admin(&place.state())).output().await.expect("it starts");
    assert_eq!(cancelled.status.code(), Some(0), "{}", text(&cancelled.stderr));
    watch.line_with("was cancelled").await;
    assert_eq!(watch.code().await, Some(12));
}

#[tokio::test]
async fn a_provider_that_is_away_holds_nobody_up_but_those_who_sign_in() {
    let mut place = Place::start("").await;
    place.provider.be_away(true);
    let (code, _, error) = place.kindred(&["login"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("cannot sign in at") && error.contains(&place.provider.url), "{error}");
    let mut jobs = place.command(&["jobs"]);
    let jobs = jobs.env("KINDRED_TOKEN", admin(&place.state())).output().await.expect("it starts");
    assert_eq!(jobs.status.code(), Some(0), "{}", text(&jobs.stderr));
    place.coordinator.signal(Signal::TERM);
    assert_eq!(place.coordinator.code().await, Some(0));
}

#[tokio::test]
async fn a_file_that_is_wrong_and_a_coordinator_without_tls_are_told_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("oidc.yaml");
    fs::write(&file, "issuers: [{url: 'http://login.example.org', client_id: kindred}]").expect("writable");
    let (state, file) = (folder.path().join("state"), file.to_str().expect("plain").to_owned());
    let common = ["--listen", "127.0.0.1:0", "--oidc", &file, "--state", state.to_str().expect("plain")];
    let with_tls = [&common[..], &["--tls", "auto"]].concat();
    for (args, parts) in
        [(&with_tls[..], ["oidc.yaml", "issuers[0].url"]), (&common[..], ["--oidc", "--tls auto"])]
    {
        let mut refused = Program::start(env!("CARGO_BIN_EXE_kindred-coordinator"), args);
        let line = refused.line_with("ERROR").await;
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        assert_eq!(refused.code().await, Some(1));
    }
}
