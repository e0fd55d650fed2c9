//! A job's progress on one line: live on a terminal, now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use kindred_proto::v1;

use crate::{output, sparkline::sparkline, text};

/// How often a line is written where no terminal can be redrawn.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// How often the curve is asked for.
const CURVE_EVERY: Duration = Duration::from_secs(3);

/// Values of the curve on the live line.
pub const CURVE_LEN: u32 = 16;

/// Shows a job as it changes, on standard error.
pub struct Display {
    bar: Option<ProgressBar>,
    headline: String,
    line: String,
    line_at: Option<Instant>,
    curve: String,
    curve_at: Option<Instant>,
}

impl Display {
    /// Redraws one line on a terminal; writes plain lines otherwise.
    pub fn for_terminal() -> Self {
        let bar = stderr().is_terminal().then(bar);
        Self {
            bar,
            headline: String::new(),
            line: String::new(),
            line_at: None,
            curve: String::new(),
            curve_at: None,
        }
    }

    /// Shows the newest state: a line of its own when the state or its reason changed.
    pub fn show(&mut self, job: &v1::Job) {
        let headline = headline(job);
        if headline != self.headline {
            self.say(&headline);
            self.headline = headline;
        }
        let Some(progress) = job.progress.as_ref().filter(|progress| progress.total_steps > 0) else {
            return;
        };
        match &self.bar {
            Some(bar) => redraw(bar, progress, &self.curve),
            None => self.write_now_and_then(line(progress)),
        }
    }

    /// Whether a curve beside the live line would be seen, and the one that is there is old.
    pub fn wants_curve(&self) -> bool {
        self.bar.is_some() && self.curve_at.is_none_or(|at| at.elapsed() >= CURVE_EVERY)
    }

    /// Shows the loss so far beside the live line.
    pub fn show_curve(&mut self, losses: &[f64]) {
        self.curve = sparkline(losses);
        self.curve_at = Some(Instant::now());
    }

    /// Writes a line above the live one.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    /// Removes the live line.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn write_now_and_then(&mut self, line: String) {
        let is_due = self.line_at.is_none_or(|at| at.elapsed() >= PLAIN_EVERY);
        if !is_due || line == self.line {
            return;
        }
        output::note(&line);
        self.line = line;
        self.line_at = Some(Instant::now());
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {msg}")
        .expect("the template is a constant that a test parses");
    ProgressBar::no_length().with_style(style)
}

fn redraw(bar: &ProgressBar, progress: &v1::Progress, curve: &str) {
    bar.set_length(progress.total_steps);
    bar.set_position(progress.step);
    let gap = if curve.is_empty() { "" } else { "  " };
    bar.set_message(format!("{curve}{gap}{}", line(progress)));
}

/// `job-1 is running: why`.
fn headline(job: &v1::Job) -> String {
    let state = job.state().label();
    let reason = if job.reason.is_empty() { String::new() } else { format!(": {}", job.reason) };
    format!("{} is {state}{reason}", job.id)
}

/// What a person wants to know at a glance.
pub fn line(progress: &v1::Progress) -> String {
    let v1::Progress { step, total_steps, loss, lr, .. } = progress;
    let mut parts = vec![format!("step {step}/{total_steps}")];
    parts.extend(epoch(progress).map(|epoch| format!("epoch {epoch}")));
    // Before the first reading there is nothing to show.
    if progress.images_per_s > 0.0 {
        parts.extend([
            format!("loss {loss:.4}"),
            format!("lr {lr:.4}"),
            format!("{:.0} images/s", progress.images_per_s),
            format!("data wait {:.0} %", 100.0 * progress.data_wait_share),
        ]);
    }
    parts.extend(progress.knn_accuracy_percent.map(|percent| format!("kNN {percent:.1} %")));
    parts.extend(progress.eta_s.map(|eta_s| format!("ETA {}", text::duration(eta_s))));
    if !matches!(progress.activity.as_str(), "" | "training") {
        parts.push(progress.activity.clone());
    }
    parts.join("  ")
}

/// `2.51/6`; none for a job that has no epochs, since it measures.
pub fn epoch(progress: &v1::Progress) -> Option<String> {
    let v1::Progress { epoch, total_epochs, .. } = progress;
    (*total_epochs > 0).then(|| format!("{epoch:.2}/{total_epochs}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> v1::Progress {
        v1::Progress {
            step: 120,
            total_steps: 1404,
            epoch: 0.512,
            total_epochs: 6,
            loss: 6.2131,
            lr: 0.03,
            images_per_s: 1043.4,
            data_wait_share: 0.031,
            ..Default::default()
        }
    }

    #[test]
    fn a_line_leaves_out_what_is_not_known() {
        let expected = "step 120/1404  epoch 0.51/6  loss 6.2131  lr 0.0300  1043 images/s  data wait 3 %";
        assert_eq!(line(&progress()), expected);
    }

    #[test]
    fn a_line_ends_with_knn_eta_and_activity() {
        let progress = v1::Progress {
            knn_accuracy_percent: Some(81.24),
            eta_s: Some(200.0),
            activity: "evaluating".into(),
            ..progress()
        };
        assert!(
            line(&progress).ends_with("data wait 3 %  kNN 81.2 %  ETA 3m20s  evaluating"),
            "{}",
            line(&progress)
        );
    }

    #[test]
    fn a_headline_says_why() {
        let mut job =
            v1::Job { id: "job-1".into(), state: v1::JobState::Pending.into(), ..Default::default() };
        assert_eq!(headline(&job), "job-1 is pending");
        job.reason = "needs 4 ranks, 3 free".into();
        assert_eq!(headline(&job), "job-1 is pending: needs 4 ranks, 3 free");
    }

    #[test]
    fn the_bar_is_well_formed() {
        redraw(&bar(), &progress(), "▁█");
    }
}
