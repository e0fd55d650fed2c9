//! What was measured, and what follows from it.

use std::{fmt, time::Duration};

use crate::{
    coordinator::{Load, Usage},
    fleet::Renewals,
    say,
};

const GIBIBYTE: f64 = (1_u64 << 30) as f64;

/// What was measured with so many agents and jobs.
pub struct Figures {
    pub n_agents: u32,
    pub n_waiting: u32,
    pub renewals: Renewals,
    pub usage: Usage,
    pub loads: Vec<Load>,
}

impl Figures {
    /// Renewals a second.
    fn rate(&self) -> f64 {
        self.renewals.answered_after.len() as f64 / self.usage.elapsed.as_secs_f64()
    }

    /// How long a renewal waits for its answer; of so many of a hundred no longer.
    fn answered_after(&self, percent: usize) -> Duration {
        let mut all = self.renewals.answered_after.clone();
        all.sort_unstable();
        all.get(all.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }

    fn median(&self, of: impl Fn(&Load) -> f64) -> f64 {
        let mut all: Vec<f64> = self.loads.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn most(&self, of: impl Fn(&Load) -> f64) -> f64 {
        self.loads.iter().map(of).fold(0.0, f64::max)
    }

    fn pass_ms(&self) -> f64 {
        self.median(|load| load.pass_median_us) / 1e3
    }

    /// What the turns take of the engine's one task.
    fn busy(&self) -> f64 {
        self.median(|load| load.turns_total_ms / load.elapsed_ms)
    }

    /// Of a renewal, on one core, in microseconds.
    fn cost_us(&self) -> f64 {
        self.usage.on_core.as_secs_f64() * 1e6 / self.renewals.answered_after.len() as f64
    }

    fn resident_bytes(&self) -> f64 {
        self.usage.resident_bytes as f64
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} agents, {} jobs wait: {:.0} renewals/s, answered after {:.1} ms (median), {:.1} ms (p99), {:.0} ms (most); {} leases \
             ended, {} streams; {:.2} GiB; {:.2} cores, {:.0} us a renewal; {:.0} turns/s, {:.2} ms (median), {:.0} ms (most), {:.0} % \
             of the engine's time; pass {:.1} ms (median), {:.1} ms (most)",
            self.n_agents,
            self.n_waiting,
            self.rate(),
            millis(self.answered_after(50)),
            millis(self.answered_after(99)),
            millis(self.answered_after(100)),
            self.renewals.n_late,
            self.renewals.n_ended,
            self.resident_bytes() / GIBIBYTE,
            self.usage.share(),
            self.cost_us(),
            self.median(|load| load.n_turns * 1e3 / load.elapsed_ms),
            self.median(|load| load.turn_median_us) / 1e3,
            self.most(|load| load.turn_most_us) / 1e3,
            self.busy() * 100.0,
            self.pass_ms(),
            self.most(|load| load.pass_most_us) / 1e3,
        )
    }
}

/// The table, and the growth.
pub fn print(all: &[Figures]) {
    let Some(most) = all.last() else { return };
    let (pass_ms, resident, rate) = (most.pass_ms(), most.resident_bytes(), most.rate());
    let expected = f64::from(most.n_agents) / 2.0;
    let is_kept = most.renewals.n_late == 0 && most.renewals.n_ended == 0 && rate >= 0.99 * expected;
    let left_s = most.renewals.least_left.unwrap_or_default().as_secs_f64();
    growth(all);
    say("\nfigure | measured | goal | met");
    say(&format!(
        "1 scheduling pass, {} agents and {} jobs that wait, median | {pass_ms:.1} ms | under 50 ms | {}",
        most.n_agents,
        most.n_waiting,
        yes(pass_ms < 50.0)
    ));
    say(&format!(
        "1 resident memory of the coordinator | {:.2} GiB | under 1 GiB | {}",
        resident / GIBIBYTE,
        yes(resident < GIBIBYTE)
    ));
    say(&format!(
        "1 renewals a second | {rate:.0}, of the lease at least {left_s:.1} s were left | {expected:.0}, no lease lost | {}",
        yes(is_kept)
    ));
}

/// What one more node and one more job cost, from the corners of what was measured, and what 100,000 devices need then.
fn growth(all: &[Figures]) {
    let find = |n_agents: u32, n_waiting: u32| {
        all.iter().find(|it| (it.n_agents, it.n_waiting) == (n_agents, n_waiting))
    };
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return };
    let (Some(fewer_nodes), Some(fewer_jobs)) =
        (find(first.n_agents, last.n_waiting), find(last.n_agents, first.n_waiting))
    else {
        return;
    };
    let n_nodes = f64::from(last.n_agents - fewer_nodes.n_agents);
    let n_jobs = f64::from(last.n_waiting - fewer_jobs.n_waiting);
    let n_more = 100_000.0 / f64::from(crate::DEVICES_PER_NODE) - f64::from(last.n_agents);
    let line = |name: &str, unit: &str, of: &dyn Fn(&Figures) -> f64| {
        let per_node = (of(last) - of(fewer_nodes)) / n_nodes;
        let per_job = (of(last) - of(fewer_jobs)) / n_jobs;
        let then = of(last) + per_node * n_more;
        say(&format!(
            "{name}: {:.2} {unit} per thousand nodes, {:.2} {unit} per thousand jobs that wait; 100,000 devices: {then:.2} {unit}",
            per_node * 1e3,
            per_job * 1e3
        ));
    };
    say("");
    line("resident memory", "MiB", &|it| it.resident_bytes() / GIBIBYTE * 1024.0);
    line("processor", "cores", &|it| it.usage.share());
    line("scheduling pass", "ms", &|it| it.pass_ms());
    line("engine's time in turns", "%", &|it| it.busy() * 100.0);
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn yes(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "no" }
}
