//! A coordinator with TLS and tokens, in the browser.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kindred_tests::program;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::driver::Browser;

const LIMIT: Duration = Duration::from_secs(30);

struct Secured {
    folder: TempDir,
    coordinator: Child,
}

impl Secured {
    async fn start() -> Result<Self> {
        let folder = TempDir::with_prefix("kindred-web-")?;
        let log = fs::File::create(folder.path().join("coordinator.log"))?;
        let coordinator = Command::new(program("kindred-coordinator"))
            .args(["--listen", "127.0.0.1:0", "--tls", "auto", "--state"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()?;
        let secured = Self { folder, coordinator };
        let deadline = Instant::now() + LIMIT;
        while secured.read("admin-token").is_err() || secured.read("web").is_err() {
            if Instant::now() > deadline {
                bail!("it does not listen: {}", secured.read("coordinator.log").unwrap_or_default());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(secured)
    }

    fn read(&self, name: &str) -> Result<String> {
        let text = fs::read_to_string(self.folder.path().join(name))?;
        ensure!(!text.is_empty(), "{name} is not whole yet");
        Ok(text.trim().to_owned())
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.coordinator.kill().ok();
        self.coordinator.wait().ok();
    }
}

#[tokio::test]
async fn a_token_signs_in_and_no_script_sees_it() -> Result<()> {
    let Some(browser) = Browser::start().await? else { return Ok(()) };
    let secured = Secured::start().await?;
    let url = secured.read("web")?;
    ensure!(url.starts_with("https://127.0.0.1:"), "{url}");
    browser.open(&format!("{url}/queue")).await?;
    browser.wait_for("document.querySelector('#token')", LIMIT).await?;
    browser.keep("sign-in").await?;
    browser.type_into("#token", "not a token").await?;
    browser.click("button[type=submit]").await?;
    browser.wait_for("document.querySelector('[role=alert]')", LIMIT).await?;
    // The refusal is a 4xx, which the console mentions.
    browser.complaints().await?;
    let token = secured.read("admin-token")?;
    browser.script("document.querySelector('#token').value = ''").await?;
    browser.type_into("#token", &token).await?;
    browser.click("button[type=submit]").await?;
    browser.wait_for("document.querySelector('main').innerText.includes('Nobody waits')", LIMIT).await?;
    browser.wait_for("document.querySelector('#session').innerText.includes('Sign out')", LIMIT).await?;
    let seen = browser
        .script("return document.cookie + JSON.stringify({...localStorage, ...sessionStorage})")
        .await?;
    ensure!(seen == "{}", "a script sees {seen}");
    browser.open(&url).await?;
    browser.wait_for("document.querySelector('main').innerText.includes('No nodes yet')", LIMIT).await?;
    let complaints = browser.complaints().await?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    browser.click("#session button").await?;
    browser.wait_for("document.querySelector('#token')", LIMIT).await?;
    let answer = browser
        .script("return fetch('/api/call/kindred.v1.JobService/ListJobs', {method: 'POST', headers: {'content-type': 'application/json'}, body: '{}'}).then((response) => response.status)")
        .await?;
    ensure!(answer == 401, "{answer}");
    secured.read("coordinator.log").context("it wrote a log").map(drop)
}
