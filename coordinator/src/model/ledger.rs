//! Which generation owns which steps of a job, and what its time went into.
//!
//! A generation says once at which step it goes on: its survivors' step, or its checkpoint's. From there all steps are
//! its own, until a newer generation says the same. So a step belongs to the newest generation that began before it: it
//! has one owner, and what others took of it is counted apart, as recomputed.
//!
//! A row is fenced: only the newest generation gets one, once, and only while it is live.

use std::time::Duration;

use kindred_proto::ids::{Generation, Step, WorldSize};
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// One row for each generation that began, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    rows: Vec<Row>,
}

/// A generation whose ranks have met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    generation: Generation,
    world_size: WorldSize,
    /// Steps taken when they had met.
    began_at: Step,
    /// When that was heard.
    met: Timestamp,
    /// How far the generation came, as far as it is known.
    reached: Reached,
    /// True once it comes no further.
    is_sealed: bool,
    /// Where the first newer generation that took steps again went on; none where nobody did.
    cut: Option<Step>,
}

/// How far a generation came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The last step that it is known to have taken.
    pub step: Step,
    /// Until when its time counts: when that step was heard of.
    pub at: Timestamp,
}

/// The steps that one generation owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The owner.
    pub generation: Generation,
    /// Its number of ranks.
    pub world_size: WorldSize,
    /// The first step.
    pub first: Step,
    /// The last step; where the generation goes on, the last one that was heard of.
    pub last: Step,
}

/// What one generation may say about steps: of those that it owns, and of the state that it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The generation.
    pub generation: Generation,
    /// The first step.
    pub first: Step,
    /// The last step; none for the newest generation.
    pub last: Option<Step>,
}

impl Ledger {
    /// True once it is known where a generation began.
    pub fn knows(&self, generation: Generation) -> bool {
        self.row(generation).is_some()
    }

    /// True while a generation has a row, and it is not known how far it came.
    pub fn is_open(&self, generation: Generation) -> bool {
        self.row(generation).is_some_and(|row| !row.is_sealed)
    }

    /// True when a state at this step, as this generation left it, is one that the job passed through.
    pub fn holds(&self, generation: Generation, step: Step) -> bool {
        self.spans().any(|span| {
            span.generation == generation && span.first <= step && span.last.is_none_or(|last| step <= last)
        })
    }

    /// What each generation may say; generations that began nowhere that counts are left out.
    pub fn spans(&self) -> impl Iterator<Item = Span> {
        let span = |row: &Row| Span { generation: row.generation, first: row.began_at, last: row.cut };
        self.rows.iter().map(span).filter(|span| span.last.is_none_or(|last| span.first <= last))
    }

    /// Who owns which steps, in order; `live` is how far the newest generation has come while it goes on.
    pub fn intervals(&self, live: Option<Reached>) -> impl Iterator<Item = Interval> {
        let interval = move |row: &Row| Interval {
            generation: row.generation,
            world_size: row.world_size,
            first: row.began_at.next(),
            last: row.last(live),
        };
        self.rows.iter().map(interval).filter(|interval| interval.first <= interval.last)
    }

    /// Steps that are known to have been taken and do not count.
    pub fn recomputed(&self, live: Option<Reached>) -> u64 {
        self.rows.iter().map(|row| row.n_taken(live) - row.n_counting(live)).sum()
    }

    /// The time in which ranks that had met took steps that count.
    ///
    /// Of each generation's time, from its meeting to the last step that was heard of, the share of its steps that count:
    /// measuring and saving between them belong to them. A generation that took none counts for nothing, unless it is the
    /// newest, which may have only the last measurements to make.
    pub fn productive(&self, live: Option<Reached>) -> Duration {
        self.rows.iter().map(|row| row.productive(live)).sum()
    }

    /// The last step that the newest generation with a row is known to have taken.
    pub(super) fn end(&self) -> Step {
        self.rows.last().map_or(Step(0), |row| row.reached.step)
    }

    /// True once ranks have met.
    pub fn is_any(&self) -> bool {
        !self.rows.is_empty()
    }

    /// A generation goes on from `step`. One that is not newer than all others gets no row.
    pub(super) fn begin(&mut self, generation: Generation, world_size: WorldSize, step: Step, at: Timestamp) {
        if self.rows.last().is_some_and(|newest| newest.generation >= generation) {
            return;
        }
        if let Some(newest) = self.rows.last_mut() {
            // Its survivors may have come further than was heard of.
            newest.reached.step = newest.reached.step.max(step);
            newest.is_sealed = true;
        }
        for row in &mut self.rows {
            row.cut = Some(row.cut.map_or(step, |cut| cut.min(step)));
        }
        let reached = Reached { step, at };
        let row =
            Row { generation, world_size, began_at: step, met: at, reached, is_sealed: false, cut: None };
        self.rows.push(row);
    }

    /// A generation comes no further. Said once; later words change nothing.
    pub(super) fn seal(&mut self, generation: Generation, reached: Reached) {
        let rows = self.rows.iter_mut();
        if let Some(row) = rows.filter(|row| !row.is_sealed).find(|row| row.generation == generation) {
            row.reached = row.reached(Some(reached));
            row.is_sealed = true;
        }
    }

    fn row(&self, generation: Generation) -> Option<&Row> {
        self.rows.iter().find(|row| row.generation == generation)
    }
}

impl Row {
    /// How far it came; `heard` is the newest that was heard of it, while it goes on.
    fn reached(&self, heard: Option<Reached>) -> Reached {
        heard.filter(|heard| !self.is_sealed && heard.step >= self.began_at).unwrap_or(self.reached)
    }

    /// The last step that counts.
    fn last(&self, heard: Option<Reached>) -> Step {
        let reached = self.reached(heard).step;
        self.cut.map_or(reached, |cut| cut.min(reached))
    }

    fn n_taken(&self, heard: Option<Reached>) -> u64 {
        self.reached(heard).step.0 - self.began_at.0
    }

    fn n_counting(&self, heard: Option<Reached>) -> u64 {
        self.last(heard).0.saturating_sub(self.began_at.0)
    }

    fn productive(&self, heard: Option<Reached>) -> Duration {
        let time = self.reached(heard).at.since(self.met);
        match (self.n_counting(heard), self.n_taken(heard)) {
            (_, 0) if self.cut.is_none() => time,
            (_, 0) => Duration::ZERO,
            (n_counting, n_taken) => time.mul_f64(n_counting as f64 / n_taken as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn reached(step: u64, seconds: i64) -> Reached {
        Reached { step: Step(step), at: at(seconds) }
    }

    /// Generations of two ranks: where each began and how far it came, ten seconds each.
    fn ledger(history: &[(u64, u64)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (number, (began_at, came_to)) in (1..).zip(history) {
            let begins = number * 100;
            ledger.begin(Generation(number as u64), WorldSize(2), Step(*began_at), at(begins));
            ledger.seal(Generation(number as u64), reached(*came_to, begins + 10));
        }
        ledger
    }

    fn intervals(ledger: &Ledger) -> Vec<(u64, u64, u64)> {
        ledger.intervals(None).map(|it| (it.generation.0, it.first.0, it.last.0)).collect()
    }

    #[test]
    fn a_generation_that_goes_on_from_a_checkpoint_takes_the_steps_after_it() {
        let ledger = ledger(&[(0, 37), (20, 50)]);
        assert_eq!(intervals(&ledger), [(1, 1, 20), (2, 21, 50)]);
        assert_eq!(ledger.recomputed(None), 17);
    }

    #[test]
    fn survivors_may_have_come_further_than_was_heard_of() {
        let ledger = ledger(&[(0, 37), (40, 50)]);
        assert_eq!(intervals(&ledger), [(1, 1, 40), (2, 41, 50)]);
        assert_eq!(ledger.recomputed(None), 0);
    }

    #[test]
    fn an_older_checkpoint_takes_steps_from_all_generations_after_it() {
        let ledger = ledger(&[(0, 30), (20, 50), (40, 45), (10, 12)]);
        assert_eq!(intervals(&ledger), [(1, 1, 10), (4, 11, 12)]);
        assert_eq!(ledger.recomputed(None), 20 + 30 + 5);
        let spans: Vec<u64> = ledger.spans().map(|span| span.generation.0).collect();
        assert_eq!(spans, [1, 4], "generations 2 and 3 left nothing that counts");
    }

    #[test]
    fn a_generation_without_a_step_of_its_own_may_still_speak_of_its_beginning() {
        let ledger = ledger(&[(0, 20), (20, 20), (20, 30)]);
        assert_eq!(intervals(&ledger), [(1, 1, 20), (3, 21, 30)]);
        assert!(ledger.holds(Generation(2), Step(20)) && !ledger.holds(Generation(2), Step(21)));
        assert!(ledger.holds(Generation(3), Step(999)), "the newest goes on");
        assert!(!ledger.holds(Generation(1), Step(21)));
    }

    #[test]
    fn an_old_generation_gets_no_row_and_a_sealed_one_comes_no_further() {
        let mut ledger = ledger(&[(0, 20), (20, 30)]);
        let before = ledger.clone();
        ledger.begin(Generation(1), WorldSize(2), Step(5), at(900));
        ledger.begin(Generation(2), WorldSize(2), Step(5), at(900));
        ledger.seal(Generation(1), reached(500, 900));
        ledger.seal(Generation(7), reached(500, 900));
        assert_eq!(ledger, before);
    }

    #[test]
    fn time_counts_as_far_as_its_steps_do() {
        assert_eq!(ledger(&[(0, 40), (20, 30)]).productive(None), Duration::from_secs(5 + 10));
        assert_eq!(ledger(&[(0, 40), (40, 40), (40, 60)]).productive(None), Duration::from_secs(10 + 10));
        let mut live = ledger(&[(0, 40)]);
        live.begin(Generation(2), WorldSize(2), Step(40), at(200));
        assert_eq!(live.productive(None), Duration::from_secs(10));
        assert_eq!(live.productive(Some(reached(44, 203))), Duration::from_secs(13));
    }
}
