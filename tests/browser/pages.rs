//! Every page, of a cluster whose jobs train, wait and are cancelled.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kindred_proto::v1::{self, JobState};
use kindred_tests::cluster::Cluster;

use crate::driver::Browser;

#[path = "../e2e/recipes.rs"]
#[allow(dead_code, reason = "the other tests use all of them")]
mod recipes;

const LIMIT: Duration = Duration::from_secs(60);

/// A cluster with one job that trains and one that waits, and a browser; none where there is no browser.
struct Stage {
    cluster: Cluster,
    browser: Browser,
    url: String,
    running: String,
    waiting: String,
}

impl Stage {
    async fn set(name: &str) -> Result<Option<Self>> {
        let Some(browser) = Browser::start().await? else { return Ok(None) };
        let cluster = Cluster::start(2).await?;
        for agent in 0..2 {
            recipes::link_fashion_mnist(&cluster.data_root(agent))?;
        }
        let running = cluster.submit(&recipes::fashion_mnist(name, 2, "epochs: 500")).await?;
        let big = recipes::fashion_mnist("larger-than-this", 4, "epochs: 1");
        let waiting = cluster.submit(&big).await?;
        cluster
            .wait_for(&running, LIMIT, |job| job.progress.as_ref().is_some_and(|told| told.step > 3))
            .await?;
        let url = std::fs::read_to_string(cluster.folder().join("coordinator/web"))?;
        let url = url.trim().to_owned();
        Ok(Some(Self { cluster, browser, url, running, waiting }))
    }

    async fn open(&self, path: &str) -> Result<()> {
        self.browser.open(&format!("{}{path}", self.url)).await
    }

    async fn wait_for(&self, what: &str) -> Result<()> {
        self.browser.wait_for(what, LIMIT).await
    }

    /// Nothing was said on the console, and nothing asked of anybody else.
    async fn end(self) -> Result<()> {
        let complaints = self.browser.complaints().await?;
        ensure!(complaints.is_empty(), "the console says {complaints:#?}");
        for asked in self.browser.asked().await? {
            let is_own = asked.url.starts_with(&self.url) || asked.url.starts_with("data:");
            // A new window shows an empty page of the browser's own.
            ensure!(is_own || asked.url.starts_with("chrome:"), "{} is asked", asked.url);
        }
        self.cluster.finish(&[])
    }
}

fn says(text: &str) -> String {
    format!("document.querySelector('main')?.innerText.includes({text:?})")
}

#[tokio::test]
async fn every_page_shows_what_the_api_says() -> Result<()> {
    let Some(stage) = Stage::set("shown").await? else { return Ok(()) };
    stage.browser.look(1280, 860, false).await?;
    stage.open("/").await?;
    stage.wait_for("document.querySelectorAll('#nodes article').length === 2").await?;
    stage.wait_for(&format!("document.querySelector(`a.device[href='/jobs/{}']`)", stage.running)).await?;
    stage.wait_for("document.querySelectorAll('#events li').length > 3").await?;
    stage.browser.keep("cluster").await?;

    // From page to page without a load.
    stage.browser.script("window.isTheSame = true").await?;
    stage.browser.click(".nav a[href='/queue']").await?;
    let reason = stage.cluster.job(&stage.waiting).await?.reason;
    ensure!(reason.contains("needs 4 cpu devices"), "{reason}");
    stage.wait_for(&says(&reason)).await?;
    stage.browser.keep("queue").await?;

    stage.browser.click(".nav a[href='/jobs']").await?;
    stage.wait_for("document.querySelectorAll('#jobs tbody tr').length === 2").await?;
    stage.wait_for(&says("shown")).await?;
    stage.browser.keep("jobs").await?;
    for job_id in [&stage.running, &stage.waiting] {
        stage.browser.click(&format!("input[aria-label='choose {job_id}']")).await?;
    }
    stage.browser.click("button.primary").await?;
    stage.wait_for(&says("Where they differ")).await?;
    stage.wait_for(&says("ranks")).await?;
    stage.browser.keep("compare").await?;
    ensure!(stage.browser.script("return window.isTheSame").await? == true, "a page was loaded anew");

    stage.open("/jobs/job-4711").await?;
    stage
        .wait_for("document.querySelector('[role=alert]')?.innerText.includes('there is no job job-4711')")
        .await?;
    let complaints = stage.browser.complaints().await?;
    ensure!(complaints.len() == 1 && complaints[0].contains("404"), "{complaints:?}");
    stage.end().await
}

#[tokio::test]
async fn curves_move_while_a_job_trains_and_cancel_ends_it() -> Result<()> {
    let Some(stage) = Stage::set("moves").await? else { return Ok(()) };
    stage.browser.look(1280, 1180, false).await?;
    stage.open(&format!("/jobs/{}", stage.running)).await?;
    let line = "document.querySelector(\"[data-name='loss'] path.line\")?.getAttribute('d')";
    stage.wait_for(&format!("({line} ?? '').split('L').length > 5")).await?;
    stage.wait_for("document.querySelector(\"[data-name='images_per_s'] path.line\")").await?;
    let before = stage.browser.script(&format!("return {line}")).await?;
    let before = before.as_str().context("a line is text")?;
    stage.wait_for(&format!("{line} !== {before:?}")).await?;
    stage.wait_for("document.querySelector('.timeline rect.training')").await?;
    stage.browser.keep("job").await?;

    let figure = "document.querySelector(\"[data-name='loss'] .plot\")";
    stage.browser.script(&format!("{figure}.focus()")).await?;
    stage.browser.type_into("[data-name='loss'] .plot", "\u{e012}\u{e012}").await?;
    stage.wait_for(&format!("{figure}.querySelector('[aria-live]').textContent.startsWith('step')")).await?;

    for (tab, said) in
        [("log", "ranks have met"), ("recipe", "recipe.training.epochs"), ("events", "submitted")]
    {
        stage.browser.click(&format!("#tab-{tab}")).await?;
        stage.wait_for(&format!("document.querySelector('#panel').innerText.includes({said:?})")).await?;
        stage.browser.keep(&format!("job-{tab}")).await?;
    }
    stage.browser.click("#tab-log").await?;
    stage.browser.type_into("input[aria-label='Search the lines']", "no line has this").await?;
    stage.wait_for("document.querySelector('#panel').innerText.includes('No line has this')").await?;
    stage.browser.click("#tab-checkpoints").await?;
    stage.wait_for("document.querySelector('#panel').innerText.includes('step-0000')").await?;

    // Dark, on a phone.
    stage.browser.look(390, 844, true).await?;
    stage.browser.click("#tab-curves").await?;
    stage.wait_for("document.documentElement.scrollWidth <= 390").await?;
    let ground =
        stage.browser.script("return getComputedStyle(document.body.parentElement).backgroundColor").await?;
    ensure!(ground == "rgb(17, 19, 22)", "{ground} is not dark");
    stage.browser.keep("phone").await?;

    stage.browser.click("#cancel").await?;
    stage.browser.type_into("#reason", "seen enough").await?;
    stage.browser.click("#confirm").await?;
    stage.wait_for("document.querySelector('.badge').innerText === 'cancelled'").await?;
    let job = stage.cluster.job(&stage.running).await?;
    ensure!(job.state() == JobState::Cancelled, "{:?}", job.state());
    let events = kindred_events(&stage.cluster, &stage.running).await?;
    ensure!(events.iter().any(|event| event.message.contains("seen enough")), "{events:#?}");
    stage.end().await
}

async fn kindred_events(cluster: &Cluster, job_id: &str) -> Result<Vec<v1::Event>> {
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", cluster.address()))?;
    let mut client = v1::event_service_client::EventServiceClient::new(channel.connect().await?);
    let request = v1::ListEventsRequest { job_id: job_id.into(), ..Default::default() };
    Ok(client.list_events(request).await?.into_inner().events)
}

#[tokio::test]
async fn the_policy_lets_a_page_load_nothing_from_elsewhere() -> Result<()> {
    let Some(stage) = Stage::set("strict").await? else { return Ok(()) };
    stage.open("/").await?;
    stage.wait_for("document.querySelectorAll('#nodes article').length === 2").await?;
    let complaints = stage.browser.complaints().await?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    // What a page that was tampered with would try.
    let attack = "window.ran = false;
        const script = document.createElement('script');
        try { script.textContent = 'window.ran = true'; } catch (error) { window.refused = error.name; }
        document.body.append(script);
        const style = document.createElement('style');
        style.textContent = 'body { opacity: 0.5 }';
        document.head.append(style);
        return fetch('http://127.0.0.1:9/').then(() => 'reached', () => 'refused');";
    let reached = stage.browser.script(attack).await?;
    ensure!(reached == "refused", "{reached}");
    ensure!(stage.browser.script("return window.ran").await? == false, "an inline script ran");
    let opacity = stage.browser.script("return getComputedStyle(document.body).opacity").await?;
    ensure!(opacity == "1", "an inline style counts: {opacity}");
    let complaints = stage.browser.complaints().await?.join("\n");
    ensure!(complaints.contains("connect-src") && complaints.contains("style-src"), "{complaints}");
    stage.end().await
}

#[test]
fn no_file_of_the_dashboard_names_another_host() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../coordinator/src/web/static");
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            // Names of XML are not asked for.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in ["http://", "https://", "innerHTML", "eval(", "<style", "style=\"", "onclick=\""] {
                assert!(!text.contains(word), "{word} in {}", path.display());
            }
        }
    }
}
