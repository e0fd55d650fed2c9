//! The events that are kept, for everyone to read at any time without asking the engine.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_stream::try_stream;
use kindred_proto::{
    failure::{Failure, Reason},
    listing::millis,
    v1,
};
use tokio::{sync::watch, time::timeout};
use tokio_stream::Stream;

use crate::{
    journal::Events,
    model::{Projects, Timestamp},
};

/// Most events of one batch of a stream.
const BATCH: usize = 256;

/// A stream that has nothing to tell says so this often, with its marker.
const REPEAT_AFTER: Duration = Duration::from_secs(15);

/// How many events are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBounds {
    /// At most so many; a sixteenth more until the oldest are let go of.
    pub most: usize,
    /// None that is older.
    pub age: Duration,
}

/// Which events to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only of this job; empty for all.
    pub job_id: String,
    /// Only of this node; empty for all.
    pub node_id: String,
    /// Only of jobs of these projects, and none of nodes, unless it is all.
    pub projects: Projects,
}

/// Some events, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<v1::Event>,
    /// All events up to this one were considered.
    pub marker: u64,
    /// Whether there are more.
    pub has_more: bool,
}

/// What is kept.
#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<v1::Event>>,
    /// The newest one that there ever was.
    newest: u64,
    /// The newest one that is not kept any more.
    forgotten_through: u64,
}

/// The sending end, which is the engine's.
pub(super) struct EventLog {
    kept: watch::Sender<Kept>,
    bounds: EventBounds,
}

/// The reading end.
#[derive(Clone, Debug)]
pub struct EventReader(watch::Receiver<Kept>);

impl EventLog {
    /// What was stored, in order, and the newest one that is not any more.
    pub fn new(stored: Vec<v1::Event>, forgotten_through: u64, bounds: EventBounds) -> Self {
        let newest = stored.last().map_or(forgotten_through, |event| event.number);
        let events = stored.into_iter().map(Arc::new).collect();
        Self { kept: watch::Sender::new(Kept { events, newest, forgotten_through }), bounds }
    }

    pub fn reader(&self) -> EventReader {
        EventReader(self.kept.subscribe())
    }

    /// New events with what is to be forgotten for them.
    pub fn with_news(&self, now: Timestamp, news: Vec<v1::Event>) -> Events {
        let kept = self.kept.borrow();
        let oldest = now.minus(self.bounds.age).0;
        let is_old = |event: &v1::Event| event.time.as_ref().is_some_and(|time| millis(time) < oldest);
        let n_old = kept.events.iter().take_while(|event| is_old(event)).count();
        let n_surplus = (kept.events.len() + news.len()).saturating_sub(self.bounds.most);
        // A few more for a while are cheaper than a removal with each new one.
        let n_surplus = if n_surplus > self.bounds.most / 16 { n_surplus } else { 0 };
        let n_forgotten = n_old.max(n_surplus).min(kept.events.len());
        let last = n_forgotten.checked_sub(1).and_then(|place| kept.events.get(place));
        Events { news, forget_through: last.map(|event| event.number) }
    }

    /// Called once they are stored.
    pub fn publish(&self, Events { news, forget_through }: Events) {
        if news.is_empty() && forget_through.is_none() {
            return;
        }
        self.kept.send_modify(|kept| {
            if let Some(number) = forget_through {
                let n_forgotten = kept.events.partition_point(|event| event.number <= number);
                kept.events.drain(..n_forgotten);
                kept.forgotten_through = number;
            }
            kept.newest = news.last().map_or(kept.newest, |event| event.number);
            kept.events.extend(news.into_iter().map(Arc::new));
        });
    }
}

impl EventQuery {
    fn takes(&self, event: &v1::Event) -> bool {
        (self.job_id.is_empty() || self.job_id == event.job_id)
            && (self.node_id.is_empty() || self.node_id == event.node_id)
            && (self.projects == Projects::All
                || !event.job_id.is_empty() && self.projects.contain(&event.project))
    }
}

impl Kept {
    fn check(&self, marker: u64) -> Result<(), Failure> {
        let message = if marker < self.forgotten_through {
            let through = self.forgotten_through;
            format!(
                "after_number: events up to {through} are not kept any more, and some of them came after {marker}: list them anew, and watch from there"
            )
        } else if marker > self.newest {
            format!(
                "after_number: there is no event {marker} yet, the newest is {}: list them anew",
                self.newest
            )
        } else {
            return Ok(());
        };
        Err(Failure::new(Reason::EventsForgotten, message).about("after_number"))
    }

    fn page(&self, query: &EventQuery, after: u64, limit: usize) -> EventPage {
        let first = self.events.partition_point(|event| event.number <= after);
        let mut wanted = self.events.range(first..).filter(|event| query.takes(event));
        let events: Vec<v1::Event> = wanted.by_ref().take(limit).map(|event| (**event).clone()).collect();
        let has_more = wanted.next().is_some();
        let last = events.last().filter(|_| has_more).map(|event| event.number);
        EventPage { events, marker: last.unwrap_or(self.newest), has_more }
    }
}

impl EventReader {
    /// Some events after a marker, or all that are kept.
    ///
    /// # Errors
    /// `EVENTS_FORGOTTEN` when some after the marker are not kept any more.
    pub fn page(&self, query: &EventQuery, after: Option<u64>, limit: usize) -> Result<EventPage, Failure> {
        let kept = self.0.borrow();
        after.map_or(Ok(()), |after| kept.check(after))?;
        Ok(kept.page(query, after.unwrap_or(0), limit))
    }

    /// The marker before the last so many events.
    pub fn before_last(&self, query: &EventQuery, n_last: usize) -> Option<u64> {
        let kept = self.0.borrow();
        let mut older = kept.events.iter().rev().filter(|event| query.takes(event));
        older.nth(n_last).map(|event| event.number)
    }

    /// All events after a marker, as they come, or from now on; ends with the engine.
    ///
    /// # Errors
    /// `EVENTS_FORGOTTEN`, also later when the reader is too slow.
    pub fn watch(
        &self,
        query: EventQuery,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<EventPage, Failure>> + Send + 'static, Failure> {
        let mut kept = self.0.clone();
        let mut marker = after.unwrap_or_else(|| kept.borrow().newest);
        kept.borrow().check(marker)?;
        Ok(try_stream! {
            let mut is_quiet = false;
            loop {
                let page = newest(&mut kept, &query, marker)?;
                marker = page.marker;
                if is_quiet || !page.events.is_empty() {
                    let has_more = page.has_more;
                    yield page;
                    if has_more {
                        continue;
                    }
                }
                match timeout(REPEAT_AFTER, kept.changed()).await {
                    Ok(Ok(())) => is_quiet = false,
                    Ok(Err(_)) => break,
                    Err(_) => is_quiet = true,
                }
            }
        })
    }
}

/// What came after a marker; what comes later wakes the receiver.
fn newest(kept: &mut watch::Receiver<Kept>, query: &EventQuery, marker: u64) -> Result<EventPage, Failure> {
    let kept = kept.borrow_and_update();
    kept.check(marker)?;
    Ok(kept.page(query, marker, BATCH))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio_stream::StreamExt;

    use super::*;

    fn event(number: u64, job_id: &str) -> v1::Event {
        let seconds = i64::try_from(number).expect("a small number");
        let time = Some(prost_types::Timestamp { seconds, nanos: 0 });
        v1::Event { number, job_id: job_id.to_owned(), project: "a".to_owned(), time, ..Default::default() }
    }

    fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<v1::Event> {
        numbers
            .into_iter()
            .map(|number| event(number, if number % 2 == 0 { "even" } else { "odd" }))
            .collect()
    }

    fn log(most: usize) -> EventLog {
        EventLog::new(events(1..=10), 0, EventBounds { most, age: Duration::from_secs(1_000) })
    }

    fn numbers(page: &EventPage) -> Vec<u64> {
        page.events.iter().map(|event| event.number).collect()
    }

    #[test]
    fn pages_go_on_after_a_marker() {
        let reader = log(100).reader();
        let even = EventQuery { job_id: "even".to_owned(), ..EventQuery::default() };
        let page = reader.page(&even, None, 2).expect("all are kept");
        assert_eq!((numbers(&page), page.marker, page.has_more), (vec![2, 4], 4, true));
        let page = reader.page(&even, Some(page.marker), 100).expect("all are kept");
        assert_eq!((numbers(&page), page.marker, page.has_more), (vec![6, 8, 10], 10, false));
        let odd = EventQuery { job_id: "odd".to_owned(), ..EventQuery::default() };
        assert_eq!(reader.page(&odd, None, 100).expect("all").marker, 10, "all ten were considered");
        let before = reader.before_last(&even, 2);
        assert_eq!(numbers(&reader.page(&even, before, 100).expect("all are kept")), [8, 10]);
        let other = EventQuery { projects: ["b"].into_iter().collect(), ..EventQuery::default() };
        assert!(reader.page(&other, None, 100).expect("all").events.is_empty());
        reader.page(&even, Some(11), 1).expect_err("it never was");
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten_and_its_markers_are_refused() {
        let log = log(8);
        let news = log.with_news(Timestamp(11_000), events([11]));
        assert_eq!(news.forget_through, Some(3));
        log.publish(news);
        let reader = log.reader();
        let all = EventQuery::default();
        let failure = reader.page(&all, Some(2), 100).expect_err("event 3 came after it");
        assert_eq!((failure.reason, failure.subject.as_str()), (Reason::EventsForgotten, "after_number"));
        assert_eq!(numbers(&reader.page(&all, Some(3), 100).expect("nothing is missing")).len(), 8);
        let later = log.with_news(Timestamp(1_006_000), events([20]));
        assert_eq!(later.forget_through, Some(5), "older than a thousand seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_misses_nothing_and_hears_when_nothing_happens() {
        let log = log(8);
        let all = EventQuery::default();
        let mut stream = pin!(log.reader().watch(all.clone(), Some(9)).expect("it is kept"));
        let mut next = async || stream.next().await.expect("it goes on").expect("nothing is lost");
        assert_eq!(numbers(&next().await), [10]);
        log.publish(Events { news: events([12, 13]), forget_through: Some(4) });
        assert_eq!(numbers(&next().await), [12, 13]);
        let quiet = next().await;
        assert_eq!((numbers(&quiet), quiet.marker), (vec![], 13));
        log.publish(Events { news: events([14]), forget_through: Some(14) });
        let failure = stream.next().await.expect("it says so").expect_err("it was too slow");
        assert_eq!(failure.reason, Reason::EventsForgotten);
        assert!(log.reader().watch(all, Some(3)).is_err(), "refused at once");
    }
}
