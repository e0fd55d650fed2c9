//! What the coordinator is told at its start.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{access::Security, engine::EventBounds, model::SchedulingRules, timing::Timing};

/// Settings of one coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder of the journal and the telemetry.
    pub state_dir: PathBuf,
    /// When faults are noticed.
    pub timing: Timing,
    /// Log lines kept of each job; older ones are dropped and counted.
    pub log_lines_per_job: u64,
    /// How long jobs that are over are kept, with their metrics and logs.
    pub keep_jobs: Duration,
    /// How many events are kept, and for how long.
    pub events: EventBounds,
    /// Changes from one snapshot of the journal to the next, at least.
    pub snapshot_every: usize,
    /// Who goes first.
    pub scheduling: SchedulingRules,
    /// Most calls that share a turn of the engine, and so a commit; 1 for a commit each.
    pub turn_len: usize,
    /// TLS and tokens; without, everyone who reaches the coordinator may do everything.
    pub security: Option<Arc<Security>>,
}

impl Config {
    /// The defaults, with the state below `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            timing: Timing::new(Duration::from_secs(10)),
            log_lines_per_job: 100_000,
            keep_jobs: Duration::from_secs(90 * 24 * 60 * 60),
            events: EventBounds { most: 50_000, age: Duration::from_secs(30 * 24 * 60 * 60) },
            snapshot_every: 10_000,
            scheduling: SchedulingRules::default(),
            turn_len: 256,
            security: None,
        }
    }

    /// Reads what operators decide about who goes first, as YAML; what is left out has its default.
    ///
    /// # Errors
    /// What is wrong, with the line or the field.
    pub fn read_scheduling(text: &str) -> Result<SchedulingRules, serde_yaml_ng::Error> {
        let rules: Option<SchedulingRules> = serde_yaml_ng::from_str(text)?;
        let rules = rules.unwrap_or_default().complete();
        match rules.check() {
            Ok(()) => Ok(rules),
            Err(wrong) => Err(serde::de::Error::custom(wrong)),
        }
    }

    /// The file that holds the journal.
    pub fn journal_file(&self) -> PathBuf {
        self.state_dir.join("journal.sqlite")
    }

    /// The file that holds metrics and log lines.
    pub fn telemetry_file(&self) -> PathBuf {
        self.state_dir.join("telemetry.sqlite")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = include_str!("../../deploy/coordinator/scheduling.yaml");

    #[test]
    fn the_annotated_file_holds_the_defaults() {
        assert_eq!(Config::read_scheduling(PUBLISHED).expect("it is valid"), SchedulingRules::default());
        assert_eq!(Config::read_scheduling("").expect("nothing is fine"), SchedulingRules::default());
    }

    #[test]
    fn a_queue_has_its_quota_and_default_is_always_there() {
        let rules = Config::read_scheduling("queues: {research: {max_cuda: 8}}").expect("it is valid");
        let names: Vec<&str> = rules.queues.keys().map(String::as_str).collect();
        assert_eq!(names, ["default", "research"]);
        assert_eq!(rules.queues["research"].max_cuda, Some(8));
        let error = rules.check_queue("reserch").expect_err("there is none");
        assert_eq!(
            error.to_string(),
            "queue: there is no queue \"reserch\": this coordinator has default, research"
        );
    }

    #[test]
    fn queues_that_make_no_tree_are_refused() {
        let error = Config::read_scheduling("queues: {vision: {parent: research}}").expect_err("no parent");
        assert_eq!(
            error.to_string(),
            "queues.vision.parent: there is no queue \"research\": add it, or name one of default"
        );
    }

    #[test]
    fn a_queue_that_is_divided_has_no_jobs_of_its_own() {
        let text = "queues: {research: {}, vision: {parent: research}, language: {parent: research}}";
        let rules = Config::read_scheduling(text).expect("it is a tree");
        let error = rules.check_queue("research").expect_err("it is divided");
        assert_eq!(
            error.to_string(),
            "queue: queue research is divided into others, and has no jobs of its own: name language or vision"
        );
        let error = rules.check_queue("other").expect_err("there is none");
        assert!(error.to_string().ends_with("this coordinator has default, language, vision"), "{error}");
    }

    #[test]
    fn what_is_misspelt_is_named() {
        let error = Config::read_scheduling("queues: {research: {max_gpu: 8}}").expect_err("no such key");
        assert!(error.to_string().contains("max_gpu"), "{error}");
    }
}
