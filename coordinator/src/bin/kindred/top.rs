//! `kindred top`: the cluster and its jobs on one screen, drawn anew every few seconds.

use std::{
    fmt::Write as _,
    io::{IsTerminal, stdout},
};

use kindred_proto::v1::{self, JobState, NodeState};
use tokio::{signal, time};

use crate::{
    args::{Format, Global, Top},
    client::Client,
    exit::{Error, Exit},
    nodes,
    output::{self, Table},
    sparkline::{curve, sparkline},
    text,
};

/// Jobs of each kind that are shown.
const MOST_SHOWN: usize = 20;
const BAR_LEN: usize = 16;
const SPARK_LEN: u32 = 20;
/// Clears the screen, and goes to its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Draws until Ctrl-C; once where nobody looks.
pub async fn run(global: &Global, args: Top) -> Result<Exit, Error> {
    if global.output != Format::Table {
        return Err(Error::invalid("top draws a screen: use `kindred jobs` and `kindred nodes` with -o"));
    }
    let mut client = Client::connect(global).await?;
    if args.once || !stdout().is_terminal() {
        output::result(&Picture::take(&client).await?.draw())?;
        return Ok(Exit::Succeeded);
    }
    let drawing = async {
        loop {
            match Picture::take(&client).await {
                Ok(picture) => output::result(&format!("{CLEAR}{}", picture.draw()))?,
                // It may come back, or another one lead.
                Err(error) if error.exit == Exit::Unreachable => {
                    output::note(&format!("{CLEAR}{error}"));
                    client = client.again().await.unwrap_or(client);
                }
                Err(error) => return Err(error),
            }
            time::sleep(args.every).await;
        }
    };
    tokio::select! {
        ended = drawing => ended,
        _ = signal::ctrl_c() => Ok(Exit::Succeeded),
    }
}

/// All that is shown.
#[derive(Default)]
struct Picture {
    nodes: Vec<v1::Node>,
    jobs: Vec<v1::Job>,
    /// Losses of the jobs that are at work, in their order.
    losses: Vec<Vec<f64>>,
}

impl Picture {
    async fn take(client: &Client) -> Result<Self, Error> {
        let nodes = nodes::all(client).await?;
        let states = JobState::ALL.into_iter().filter(|state| !state.is_terminal());
        let states = states.map(Into::into).collect();
        let request = v1::ListJobsRequest { states, page_size: 1000, ..Default::default() };
        let jobs = client.answer(client.jobs().list_jobs(request)).await?.jobs;
        let mut picture = Self { nodes, jobs, losses: vec![] };
        let at_work: Vec<String> = picture.at_work().map(|job| job.id.clone()).collect();
        for job_id in at_work {
            picture.losses.push(curve(client, &job_id, "loss", SPARK_LEN).await.unwrap_or_default());
        }
        Ok(picture)
    }

    fn at_work(&self) -> impl Iterator<Item = &v1::Job> {
        self.jobs.iter().filter(|job| !is_waiting(job)).take(MOST_SHOWN)
    }

    fn waiting(&self) -> impl Iterator<Item = &v1::Job> {
        self.jobs.iter().filter(|job| is_waiting(job))
    }

    fn draw(&self) -> String {
        let mut parts = vec![self.headline(), self.node_table().to_string()];
        if self.at_work().next().is_some() {
            parts.push(self.work_table().to_string());
        }
        if self.waiting().next().is_some() {
            parts.push(self.queue_table().to_string());
        }
        parts.join("\n\n")
    }

    fn headline(&self) -> String {
        let is_there = |node: &&v1::Node| node.state() != NodeState::Lost;
        let devices = || self.nodes.iter().filter(is_there).flat_map(|node| &node.devices);
        let n_used = devices().filter(|device| !device.job_id.is_empty()).count();
        let n_ready = self.nodes.iter().filter(|node| node.state() == NodeState::Ready).count();
        let n_waiting = self.waiting().count();
        format!(
            "devices {n_used}/{}  nodes {n_ready}/{}  jobs at work {}  waiting {n_waiting}",
            devices().count(),
            self.nodes.len(),
            self.jobs.len() - n_waiting
        )
    }

    fn node_table(&self) -> Table {
        let mut table = Table::new(["NODE", "STATE", "DEVICES", "JOBS"]);
        for node in &self.nodes {
            let mut jobs: Vec<&str> = node.devices.iter().map(|device| device.job_id.as_str()).collect();
            jobs.retain(|job_id| !job_id.is_empty());
            jobs.dedup();
            table.row([node.name.clone(), nodes::state(node), devices(node), jobs.join(" ")]);
        }
        table
    }

    fn work_table(&self) -> Table {
        let headings = ["JOB", "NAME", "STATE", "PROGRESS", "ETA", "LOSS", "", "IMAGES/S", "KNN"];
        let mut table = Table::new(headings);
        for (job, losses) in self.at_work().zip(&self.losses) {
            let told = job.progress.clone().unwrap_or_default();
            let is_measured = told.images_per_s > 0.0;
            table.row([
                job.id.clone(),
                job.spec.as_ref().map(|spec| spec.name.clone()).unwrap_or_default(),
                job.state().label(),
                progress(&told),
                told.eta_s.map(text::duration).unwrap_or_default(),
                if is_measured { format!("{:.4}", told.loss) } else { String::new() },
                sparkline(losses),
                if is_measured { format!("{:.0}", told.images_per_s) } else { String::new() },
                text::percent(told.knn_accuracy_percent),
            ]);
        }
        table
    }

    fn queue_table(&self) -> Table {
        let mut table = Table::new(["WAITS", "NAME", "SINCE", "WHY"]);
        for job in self.waiting().take(MOST_SHOWN) {
            let name = job.spec.as_ref().map(|spec| spec.name.clone()).unwrap_or_default();
            table.row([job.id.clone(), name, text::age(job.create_time.as_ref()), job.reason.clone()]);
        }
        table
    }
}

fn is_waiting(job: &v1::Job) -> bool {
    matches!(job.state(), JobState::Pending | JobState::Suspended)
}

/// `■■□□`: what is in use, and what is free.
fn devices(node: &v1::Node) -> String {
    node.devices.iter().map(|device| if device.job_id.is_empty() { '□' } else { '■' }).collect()
}

/// `████░░░░ 120/240`; nothing before the first step.
fn progress(told: &v1::Progress) -> String {
    if told.total_steps == 0 {
        return String::new();
    }
    let n_full = (told.step.min(told.total_steps) as usize * BAR_LEN) / told.total_steps as usize;
    let mut line = "█".repeat(n_full) + &"░".repeat(BAR_LEN - n_full);
    let _ = write!(line, " {}/{}", told.step, told.total_steps);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_screen_shows_nodes_work_and_queue() {
        let device = |job_id: &str| v1::Device { job_id: job_id.to_owned(), ..Default::default() };
        let node = v1::Node {
            name: "gpu-1".to_owned(),
            state: NodeState::Ready.into(),
            devices: vec![device("job-1"), device("job-1"), device("")],
            ..Default::default()
        };
        let job = |id: &str, state: JobState, progress, reason: &str| v1::Job {
            id: id.to_owned(),
            spec: Some(v1::JobSpec { name: format!("name-of-{id}"), ..Default::default() }),
            state: state.into(),
            progress,
            reason: reason.to_owned(),
            ..Default::default()
        };
        let told = v1::Progress {
            step: 30,
            total_steps: 60,
            loss: 5.25,
            images_per_s: 1043.4,
            eta_s: Some(200.0),
            ..Default::default()
        };
        let picture = Picture {
            nodes: vec![node],
            jobs: vec![
                job("job-1", JobState::Running, Some(told), ""),
                job("job-2", JobState::Pending, None, "needs 4 cuda devices, 1 free"),
            ],
            losses: vec![vec![6.0, 5.5, 5.25]],
        };
        let screen = picture.draw();
        for text in [
            "devices 2/3  nodes 1/1  jobs at work 1  waiting 1",
            "■■□",
            "████████░░░░░░░░ 30/60",
            "3m20s",
            "█▃▁",
            "needs 4 cuda devices, 1 free",
        ] {
            assert!(screen.contains(text), "{text} is not in\n{screen}");
        }
        assert_eq!(Picture::default().draw().lines().count(), 3, "an empty cluster has its headings");
    }
}
