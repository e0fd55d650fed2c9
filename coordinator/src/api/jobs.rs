//! `JobService`: what users call.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{CheckpointId, Generation, JobId},
    job_spec::AnySpec,
    listing::{Filter, JOB_COLUMNS, Order},
    v1::{self, job_service_server::JobService},
};
use prost::Message;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait, codegen::BoxStream};
use uuid::Uuid;

use super::{
    answer, curves,
    page::{self, Bounds, Pages},
    streams, update,
};
use crate::{
    access::Caller,
    engine::{Handle, JobQuery, LineNumber, Lines, LogQuery, MetricCursor, MetricQuery, Place},
    model::{Fork, Projects},
};

const JOBS: Bounds = Bounds { default: 50, most: 1000 };
const CHECKPOINTS: Bounds = Bounds { default: 50, most: 1000 };
const QUEUES: Bounds = Bounds { default: 100, most: 1000 };
const POINTS: Bounds = Bounds { default: 1000, most: 10_000 };

/// The service, over the engine's handle.
pub struct Jobs {
    /// The engine.
    pub handle: Handle,
    /// Ends the streams.
    pub shutdown: CancellationToken,
}

#[async_trait]
impl JobService for Jobs {
    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        let caller = Caller::of(&request);
        answer(self.create(&caller, request.into_inner())).await
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let job_id = JobId::new(request.into_inner().job_id);
        answer(async { Ok(v1::GetJobResponse { job: Some(self.handle.get_job(&job_id).await?) }) }).await
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let caller = Caller::of(&request);
        answer(self.list(&caller.projects, request.into_inner())).await
    }

    async fn update_job(
        &self,
        request: Request<v1::UpdateJobRequest>,
    ) -> Result<Response<v1::UpdateJobResponse>, Status> {
        let handle = self.by_caller(&request);
        let request = request.into_inner();
        answer(async { Ok(v1::UpdateJobResponse { job: Some(update::update(&handle, request).await?) }) })
            .await
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let handle = self.by_caller(&request);
        let request = request.into_inner();
        answer(async {
            check_request_id(&request.request_id)?;
            let job = handle.cancel_job(&JobId::new(request.job_id), &request.reason).await?;
            Ok(v1::CancelJobResponse { job: Some(job) })
        })
        .await
    }

    async fn suspend_job(
        &self,
        request: Request<v1::SuspendJobRequest>,
    ) -> Result<Response<v1::SuspendJobResponse>, Status> {
        let handle = self.by_caller(&request);
        let request = request.into_inner();
        answer(async {
            check_request_id(&request.request_id)?;
            let job = handle.suspend_job(&JobId::new(request.job_id), &request.reason).await?;
            Ok(v1::SuspendJobResponse { job: Some(job) })
        })
        .await
    }

    async fn resume_job(
        &self,
        request: Request<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::ResumeJobResponse>, Status> {
        let handle = self.by_caller(&request);
        let request = request.into_inner();
        answer(async {
            check_request_id(&request.request_id)?;
            let job = handle.resume_job(&JobId::new(request.job_id)).await?;
            Ok(v1::ResumeJobResponse { job: Some(job) })
        })
        .await
    }

    type WatchJobStream = BoxStream<v1::WatchJobResponse>;

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let v1::WatchJobRequest { job_id, after } = request.into_inner();
        let jobs = answer(self.handle.watch_job(&JobId::new(job_id))).await?.into_inner();
        let answers = jobs.map(|job| v1::WatchJobResponse { resume_marker: marker(&job), job: Some(job) });
        let answers = answers.skip_while(move |answer| answer.resume_marker == after);
        Ok(Response::new(streams::newest_until(self.shutdown.clone(), answers)))
    }

    type ReadLogsStream = BoxStream<v1::ReadLogsResponse>;

    async fn read_logs(
        &self,
        request: Request<v1::ReadLogsRequest>,
    ) -> Result<Response<Self::ReadLogsStream>, Status> {
        let request = request.into_inner();
        let query = LogQuery {
            tail: (request.tail > 0).then(|| request.tail.into()),
            after: LineNumber::from_wire(request.after_line),
            min_level: request.min_level(),
            follow: request.follow,
        };
        let job_id = JobId::new(request.job_id);
        let batches = answer(self.handle.read_logs(&job_id, query)).await?.into_inner();
        let answers = batches.map(|batch| {
            let Lines { lines, last } = batch?;
            Ok(v1::ReadLogsResponse { lines, last_line: last.to_wire() })
        });
        Ok(Response::new(streams::until(self.shutdown.clone(), answers)))
    }

    async fn list_metrics(
        &self,
        request: Request<v1::ListMetricsRequest>,
    ) -> Result<Response<v1::ListMetricsResponse>, Status> {
        answer(self.metrics(request.into_inner())).await
    }

    async fn list_curves(
        &self,
        request: Request<v1::ListCurvesRequest>,
    ) -> Result<Response<v1::ListCurvesResponse>, Status> {
        answer(curves::list(&self.handle, request.into_inner())).await
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        let request = request.into_inner();
        answer(async {
            let pages = Pages::new("checkpoints", &request.job_id, request.page_size, CHECKPOINTS);
            let all = self.handle.list_checkpoints(&JobId::new(&request.job_id)).await?;
            let (checkpoints, next_page_token) =
                pages.cut(all, &request.page_token, |checkpoint| &checkpoint.id)?;
            Ok(v1::ListCheckpointsResponse { checkpoints, next_page_token })
        })
        .await
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let v1::GetCheckpointRequest { job_id, checkpoint_id } = request.into_inner();
        answer(async {
            let id = CheckpointId::new(checkpoint_id);
            let checkpoint = self.handle.get_checkpoint(&JobId::new(job_id), &id).await?;
            Ok(v1::GetCheckpointResponse { checkpoint: Some(checkpoint) })
        })
        .await
    }

    async fn explain_job(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        let job_id = JobId::new(request.into_inner().job_id);
        answer(async {
            Ok(v1::ExplainJobResponse { explanation: Some(self.handle.explain_job(&job_id).await?) })
        })
        .await
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Result<Response<v1::ListQueuesResponse>, Status> {
        let request = request.into_inner();
        answer(async {
            let pages = Pages::new("queues", (), request.page_size, QUEUES);
            let all = self.handle.list_queues().await?;
            let (queues, next_page_token) = pages.cut(all, &request.page_token, |queue| &queue.name)?;
            Ok(v1::ListQueuesResponse { queues, next_page_token })
        })
        .await
    }

    async fn pin_checkpoint(
        &self,
        request: Request<v1::PinCheckpointRequest>,
    ) -> Result<Response<v1::PinCheckpointResponse>, Status> {
        let handle = self.by_caller(&request);
        let request = request.into_inner();
        answer(async {
            check_request_id(&request.request_id)?;
            let (job_id, id) = (JobId::new(request.job_id), CheckpointId::new(request.checkpoint_id));
            let checkpoint = handle.pin_checkpoint(&job_id, &id, !request.unpin).await?;
            Ok(v1::PinCheckpointResponse { checkpoint: Some(checkpoint) })
        })
        .await
    }
}

impl Jobs {
    /// The engine, for whoever sent this.
    fn by_caller<T>(&self, request: &Request<T>) -> Handle {
        self.handle.by(&Caller::of(request).name())
    }

    async fn create(
        &self,
        caller: &Caller,
        request: v1::CreateJobRequest,
    ) -> Result<v1::CreateJobResponse, Failure> {
        check_request_id(&request.request_id)?;
        let wire = request.spec.ok_or_else(|| invalid("spec", "is required"))?;
        let spec = AnySpec::check(&wire)?;
        let fork = request.fork_of.map(fork);
        if request.validate_only {
            return self.validate(&spec, fork).await;
        }
        let handle = self.handle.by(&caller.name());
        let job = match fork {
            None => handle.create_job(&spec, &request.request_id).await?,
            Some(fork) => handle.fork_job(&spec, &request.request_id, fork).await?,
        };
        Ok(v1::CreateJobResponse { job: Some(job), explanation: None })
    }

    /// Stores nothing: says what the job is with every default, and what would become of it now.
    async fn validate(&self, spec: &AnySpec, fork: Option<Fork>) -> Result<v1::CreateJobResponse, Failure> {
        self.handle.check_job(spec, fork).await?;
        let explanation = Some(self.handle.explain_spec(spec).await?);
        let job = Some(v1::Job { spec: Some(spec.to_wire()), ..Default::default() });
        Ok(v1::CreateJobResponse { job, explanation })
    }

    async fn list(
        &self,
        projects: &Projects,
        request: v1::ListJobsRequest,
    ) -> Result<v1::ListJobsResponse, Failure> {
        let listing = (&request.states, projects, &request.filter, &request.order_by);
        let pages = Pages::new("jobs", listing, request.page_size, JOBS);
        let after = pages.cursor(&request.page_token)?.map(place).transpose()?;
        let query = JobQuery {
            states: request.states().collect(),
            projects: projects.clone(),
            filter: Filter::parse(&request.filter, JOB_COLUMNS).map_err(|error| error.in_field("filter"))?,
            order: Order::parse(&request.order_by, JOB_COLUMNS)
                .map_err(|error| error.in_field("order_by"))?,
            after,
            limit: pages.limit,
        };
        let page = self.handle.list_jobs(query).await?;
        let next = page.next.map(|next| serde_json::to_string(&next).expect("numbers and text are JSON"));
        let next_page_token = pages.token(next.as_deref());
        Ok(v1::ListJobsResponse { jobs: page.jobs, next_page_token })
    }

    async fn metrics(&self, request: v1::ListMetricsRequest) -> Result<v1::ListMetricsResponse, Failure> {
        let filter = (&request.job_id, &request.series, request.after_step, request.generation);
        let pages = Pages::new("metrics", filter, request.page_size, POINTS);
        let after = pages.cursor(&request.page_token)?.map(metric_cursor).transpose()?;
        let query = MetricQuery {
            series: request.series,
            generation: (request.generation > 0).then_some(Generation(request.generation)),
            spans: vec![],
            after_step: (request.after_step > 0).then_some(request.after_step),
            after,
            limit: pages.limit,
        };
        let page = self.handle.list_metrics(&JobId::new(request.job_id), query).await?;
        let next = page.next.map(|next| format!("{}:{}", next.step, next.series));
        Ok(v1::ListMetricsResponse { points: page.points, next_page_token: pages.token(next.as_deref()) })
    }
}

fn fork(wire: v1::create_job_request::ForkOf) -> Fork {
    let id = wire.checkpoint_id;
    Fork { job_id: JobId::new(wire.job_id), checkpoint: (!id.is_empty()).then(|| CheckpointId::new(id)) }
}

/// Says the same as long as nothing about the job is new, also after a restart.
fn marker(job: &v1::Job) -> String {
    let progress = job.progress.as_ref().map(Message::encode_to_vec);
    format!("{}-{:016x}", job.revision, page::digest((progress, &job.reason)))
}

fn place(text: &str) -> Result<Place, Failure> {
    serde_json::from_str(text).map_err(|_| page::invalid())
}

fn metric_cursor(text: &str) -> Result<MetricCursor, Failure> {
    let (step, series) = text.split_once(':').ok_or_else(page::invalid)?;
    let step = step.parse().map_err(|_| page::invalid())?;
    Ok(MetricCursor { series: series.to_owned(), step })
}

pub(super) fn check_request_id(request_id: &str) -> Result<(), Failure> {
    if request_id.is_empty() || Uuid::try_parse(request_id).is_ok() {
        return Ok(());
    }
    Err(invalid("request_id", "must be a UUID, such as 7d444840-9dc0-11d1-b245-5ffdce74fad2"))
}

fn invalid(field: &str, why: &str) -> Failure {
    Failure::new(Reason::SpecInvalid, format!("{field}: {why}")).about(field)
}
