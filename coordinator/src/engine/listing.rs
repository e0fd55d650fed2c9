//! Which jobs are listed, and in which order.

use std::cmp::Ordering;

use kindred_proto::{
    failure::Failure,
    listing::{Filter, Key, Kind, Order, Value, id_number},
    recipe::Method,
    v1,
};
use serde::{Deserialize, Serialize};

use super::Handle;
use crate::model::{Job, JobState, Model, Projects, Timestamp};

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct JobQuery {
    /// Only jobs in one of these states; empty for all.
    pub states: Vec<v1::JobState>,
    /// Only jobs of these projects.
    pub projects: Projects,
    /// Only jobs of which this holds.
    pub filter: Filter,
    /// What comes first; where it says nothing, the newest job.
    pub order: Order,
    /// Go on after this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
}

/// A job's place in a listing, also when it has another one by now, or is forgotten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    values: Vec<Value>,
    number: i64,
}

/// Some jobs, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<v1::Job>,
    /// Where the next page goes on; none on the last one.
    pub next: Option<Place>,
}

impl Handle {
    /// One page of jobs.
    ///
    /// # Errors
    /// Only when the engine is gone.
    pub async fn list_jobs(&self, query: JobQuery) -> Result<JobPage, Failure> {
        if query.filter.is_empty() && query.order.is_empty() {
            return self.ask(move |now, model| Ok(list(now, model, &query))).await;
        }
        // All jobs are looked at.
        self.on_copy(move |now, model| Ok(list(now, model, &query))).await
    }
}

fn list(now: Timestamp, model: &Model, query: &JobQuery) -> JobPage {
    let is_wanted = |state: JobState| query.states.is_empty() || query.states.contains(&state.into());
    let is_in_view = |job: &Job| query.projects.contain(job.project());
    let is_listed =
        |job: &&Job| is_wanted(job.state) && is_in_view(job) && query.filter.takes(|key| value(job, key));
    let most = query.limit.saturating_add(1);
    let mut found: Vec<(Place, &Job)> = if query.order.is_empty() {
        let after = query.after.as_ref().map(|after| after.number.unsigned_abs());
        let jobs = model.state().jobs_before(after).filter(is_listed);
        jobs.take(most).map(|job| (place(query, job), job)).collect()
    } else {
        let jobs = model.state().jobs_before(None).filter(is_listed).map(|job| (place(query, job), job));
        let follows = |place: &Place| {
            query.after.as_ref().is_none_or(|after| compare(query, place, after) == Ordering::Greater)
        };
        let mut jobs: Vec<_> = jobs.filter(|(place, _)| follows(place)).collect();
        jobs.sort_unstable_by(|(one, _), (other, _)| compare(query, one, other));
        jobs.truncate(most);
        jobs
    };
    let has_more = found.len() > query.limit;
    found.truncate(query.limit);
    let next = found.last().filter(|_| has_more).map(|(place, _)| place.clone());
    JobPage { jobs: found.into_iter().map(|(_, job)| model.job_view_at(now, job)).collect(), next }
}

fn place(query: &JobQuery, job: &Job) -> Place {
    Place { values: query.order.values(|key| value(job, key)), number: number(job) }
}

fn number(job: &Job) -> i64 {
    id_number("job-", job.id.as_str()).unwrap_or(0)
}

/// Where the order says nothing, the newest job comes first.
fn compare(query: &JobQuery, one: &Place, other: &Place) -> Ordering {
    query.order.compare(&one.values, &other.values).then(other.number.cmp(&one.number))
}

fn value(job: &Job, key: &Key) -> Value {
    let submission = &job.submission;
    let spec = &submission.spec.0;
    let text = |text: &str| Value::Text(text.to_owned());
    let time = |at: Option<Timestamp>| at.map_or(Value::Absent, |at| Value::Number(at.0));
    let choice = |name: String| choice(key, &name);
    match key.column.name {
        "id" => Value::Number(number(job)),
        "name" => text(&submission.name),
        "state" => choice(v1::JobState::from(job.state).label()),
        "project" => text(job.project()),
        "queue" => text(&submission.scheduling.queue),
        "priority" => Value::Number(submission.scheduling.priority.into()),
        "device" => choice(submission.device_kind().label()),
        "labels" => spec.labels.get(&key.label).map_or(Value::Absent, |label| text(label)),
        "create_time" => Value::Number(job.created_at.0),
        "start_time" => time(job.started_at),
        "end_time" => time(job.ended_at),
        "ranks" => Value::Number(submission.world_size.0.into()),
        "method" => {
            let method = spec.recipe.as_ref().and_then(|recipe| recipe.method.as_ref());
            method.and_then(Method::name_of).map_or(Value::Absent, text)
        }
        _ => Value::Absent,
    }
}

/// What a node holds in a column.
pub fn node_value(node: &v1::Node, key: &Key) -> Value {
    match key.column.name {
        "id" => Value::Text(node.id.clone()),
        "name" => Value::Text(node.name.clone()),
        "state" => choice(key, &node.state().label()),
        "labels" => node.labels.get(&key.label).map_or(Value::Absent, |label| Value::Text(label.clone())),
        _ => Value::Absent,
    }
}

fn choice(key: &Key, name: &str) -> Value {
    match key.column.kind {
        Kind::Choice(names) => Value::choice(names, name),
        _ => Value::Absent,
    }
}

#[cfg(test)]
mod tests {
    use kindred_proto::listing::JOB_COLUMNS;

    use super::*;

    #[test]
    fn every_column_of_jobs_has_a_value() {
        let submission = super::super::tests::submission(2);
        let mut job = Job::new("job-7".into(), Timestamp(1_000), submission);
        (job.started_at, job.ended_at) = (Some(Timestamp(2_000)), Some(Timestamp(3_000)));
        let method = v1::Method { kind: Some(v1::method::Kind::Sce(v1::Sce::default())) };
        job.submission.spec.0.recipe.get_or_insert_default().method = Some(method);
        job.submission.spec.0.labels.insert("team".to_owned(), "vision".to_owned());
        for column in JOB_COLUMNS {
            let key = Key { column, label: "team".to_owned() };
            assert_ne!(value(&job, &key), Value::Absent, "{}", column.name);
        }
        let filter = "id = job-7 AND method = sce AND labels.team = vision AND end_time > 1970-01-01T00:00:02Z \
                      AND ranks = 2 AND state = pending AND device = cpu";
        assert!(Filter::parse(filter, JOB_COLUMNS).expect("a filter").takes(|key| value(&job, key)));
    }
}
