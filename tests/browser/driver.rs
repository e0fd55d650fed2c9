//! A browser that does what a test says, over W3C WebDriver: a handful of calls in JSON.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Says that a missing browser is a failure, as in `make test-full`.
const REQUIRED: &str = "KINDRED_REQUIRE_BROWSER";

/// Root has no sandbox; nothing is asked of the network, and nothing is kept.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// How often what cannot be waited for is looked at again.
const POLL: Duration = Duration::from_millis(50);

/// A browser with one window. Dropping it ends it.
pub struct Browser {
    driver: Child,
    session: String,
    http: reqwest::Client,
    profile: TempDir,
    /// Kept open: who writes to a closed pipe is killed.
    _output: BufReader<ChildStdout>,
}

/// What a page asked of the network.
#[derive(Debug)]
pub struct Asked {
    /// The address.
    pub url: String,
}

impl Browser {
    /// Starts one; none where Chromium is not installed, unless `KINDRED_REQUIRE_BROWSER` says that it must be.
    pub async fn start() -> Result<Option<Self>> {
        let Some(program) = program() else {
            let how = "Chromium's driver is not installed (Debian: apt-get install chromium chromium-driver)";
            ensure!(env::var_os(REQUIRED).is_none(), "{how}");
            eprintln!("{how}: what needs it is left out");
            return Ok(None);
        };
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut driver =
            Command::new(program).arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(driver.stdout.take().context("it is piped")?);
        let port = output.by_ref().lines().map_while(Result::ok).find_map(|line| {
            line.strip_suffix('.')?.rsplit_once("successfully on port ").map(|(_, port)| port.to_owned())
        });
        let port = port.context("the driver does not say where it listens")?;
        let profile = TempDir::with_prefix("kindred-browser-")?;
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, session, http, profile, _output: output };
        let answer = browser.call("POST", "", &browser.wishes()).await?;
        let id = answer["sessionId"].as_str().context("a session has an id")?;
        browser.session = format!("{}/{id}", browser.session);
        Ok(Some(browser))
    }

    fn wishes(&self) -> Value {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": flags},
        }}})
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.call("POST", "/url", &json!({"url": url})).await.map(drop)
    }

    /// Sets the window's size, and whether the system is dark.
    pub async fn look(&self, width: u32, height: u32, is_dark: bool) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.tell("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.tell("Emulation.setEmulatedMedia", features).await
    }

    async fn tell(&self, command: &str, params: Value) -> Result<()> {
        self.call("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": params})).await.map(drop)
    }

    /// Runs a function's body in the page, and gives what it returns.
    pub async fn script(&self, body: &str) -> Result<Value> {
        self.call("POST", "/execute/sync", &json!({"script": body, "args": []})).await
    }

    /// The text of the first element that a selector finds; empty while there is none.
    pub async fn text(&self, selector: &str) -> Result<String> {
        let body = format!("return document.querySelector({})?.innerText ?? ''", json!(selector));
        Ok(self.script(&body).await?.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an expression holds in the page.
    pub async fn wait_for(&self, what: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.script(&format!("return Boolean({what})")).await? != json!(true) {
            if Instant::now() > deadline {
                bail!("not so after {limit:?}: {what}\nthe page says:\n{}", self.text("body").await?);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Clicks an element, as a person would: it must be there and not be covered.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let element = self.element(selector).await?;
        self.call("POST", &format!("/element/{element}/click"), &json!({})).await.map(drop)
    }

    /// Types into an element.
    pub async fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.element(selector).await?;
        self.call("POST", &format!("/element/{element}/value"), &json!({"text": text})).await.map(drop)
    }

    async fn element(&self, selector: &str) -> Result<String> {
        let found =
            self.call("POST", "/element", &json!({"using": "css selector", "value": selector})).await?;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        Ok(id.context("an element has an id")?.to_owned())
    }

    /// Keeps a picture of the window where `KINDRED_SCREENSHOTS` names a folder.
    pub async fn keep(&self, name: &str) -> Result<()> {
        let Some(folder) = env::var_os("KINDRED_SCREENSHOTS") else { return Ok(()) };
        let picture = self.call("GET", "/screenshot", &Value::Null).await?;
        let bytes = BASE64_STANDARD.decode(picture.as_str().context("a picture is text")?)?;
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes)?)
    }

    /// What the console said since it was last asked, and is no mere remark.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.call("POST", "/se/log", &json!({"type": "browser"})).await?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let is_loud = |entry: &Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        Ok(entries.iter().filter(|entry| is_loud(entry)).map(|entry| entry["message"].to_string()).collect())
    }

    /// What was asked of the network since it was last asked.
    pub async fn asked(&self) -> Result<Vec<Asked>> {
        let entries = self.call("POST", "/se/log", &json!({"type": "performance"})).await?;
        let mut asked = vec![];
        for entry in entries.as_array().into_iter().flatten() {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap_or_default())?;
            let message = &message["message"];
            if message["method"] == "Network.requestWillBeSent" {
                let url = message["params"]["request"]["url"].as_str().unwrap_or_default().to_owned();
                asked.push(Asked { url });
            }
        }
        Ok(asked)
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.request(method.parse()?, format!("{}{path}", self.session));
        let request = match body {
            Value::Null => request,
            body => request.header("content-type", "application/json").body(body.to_string()),
        };
        let text = request.send().await?.text().await?;
        let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let value = &answer["value"];
        ensure!(value.get("error").is_none(), "{method} {path}: {}", value["message"]);
        Ok(value.clone())
    }
}

impl Drop for Browser {
    /// The driver ends its browsers when it is asked to; a killed one would leave them.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.driver.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        self.driver.wait().ok();
    }
}

/// The driver: where `KINDRED_CHROMEDRIVER` says, or on the path.
fn program() -> Option<PathBuf> {
    let named = env::var_os("KINDRED_CHROMEDRIVER").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join("chromedriver"));
    named.into_iter().chain(found).find(|program| program.is_file())
}
