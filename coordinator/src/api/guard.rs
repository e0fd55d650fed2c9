//! The part of access that depends on the message: a caller with projects of its own sees the jobs of those only.
//!
//! Every method of `JobService` passes through here by its signature: one that is added to the contract does not compile
//! until it says which job it is about. What one may not see is not there: the answer is `JOB_NOT_FOUND`.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
    job_spec::project_of,
    v1::{self, job_service_server::JobService},
};
use tonic::{Request, Response, Status, async_trait, codegen::BoxStream};

use super::{jobs::Jobs, refuse};
use crate::{access::Caller, model::Projects};

/// `JobService`, for callers with and without a project of their own.
pub struct GuardedJobs(pub Jobs);

impl GuardedJobs {
    async fn check<T>(&self, request: &Request<T>, job_id: &str) -> Result<(), Status> {
        let caller = Caller::of(request);
        caller.is_about(job_id);
        self.check_visible(&caller, job_id).await.map_err(refuse)
    }

    async fn check_visible(&self, caller: &Caller, job_id: &str) -> Result<(), Failure> {
        if caller.projects == Projects::All {
            return Ok(());
        }
        let job_id = JobId::new(job_id);
        let project = self.0.handle.project_of(&job_id).await?;
        if caller.projects.contain(&project) {
            return Ok(());
        }
        let message = format!("there is no job {job_id}");
        Err(caller.refusal_in(&project, Failure::new(Reason::JobNotFound, message).about("job_id")))
    }

    /// A job without a project goes into the caller's own, if that is one.
    async fn check_creation(&self, request: &mut Request<v1::CreateJobRequest>) -> Result<(), Failure> {
        let caller = Caller::of(request);
        let message = request.get_mut();
        if let (Some(own), Some(spec)) = (caller.projects.single(), &mut message.spec)
            && spec.project.is_empty()
        {
            own.clone_into(&mut spec.project);
        }
        if let Some(fork) = &message.fork_of {
            self.check_visible(&caller, &fork.job_id).await?;
        }
        match &message.spec {
            Some(spec) => caller.check_project(project_of(spec)),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl JobService for GuardedJobs {
    async fn create_job(
        &self,
        mut request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        let caller = Caller::of(&request);
        self.check_creation(&mut request).await.map_err(refuse)?;
        let response = self.0.create_job(request).await?;
        caller.is_about(response.get_ref().job.as_ref().map_or("", |job| &job.id));
        Ok(response)
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.get_job(request).await
    }

    async fn explain_job(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.explain_job(request).await
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        // It lists what the caller may see.
        self.0.list_jobs(request).await
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Result<Response<v1::ListQueuesResponse>, Status> {
        // Queues are everyone's, and it names no job.
        self.0.list_queues(request).await
    }

    async fn update_job(
        &self,
        request: Request<v1::UpdateJobRequest>,
    ) -> Result<Response<v1::UpdateJobResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.update_job(request).await
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.cancel_job(request).await
    }

    async fn suspend_job(
        &self,
        request: Request<v1::SuspendJobRequest>,
    ) -> Result<Response<v1::SuspendJobResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.suspend_job(request).await
    }

    async fn resume_job(
        &self,
        request: Request<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::ResumeJobResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.resume_job(request).await
    }

    type WatchJobStream = BoxStream<v1::WatchJobResponse>;

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.watch_job(request).await
    }

    type ReadLogsStream = BoxStream<v1::ReadLogsResponse>;

    async fn read_logs(
        &self,
        request: Request<v1::ReadLogsRequest>,
    ) -> Result<Response<Self::ReadLogsStream>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.read_logs(request).await
    }

    async fn list_metrics(
        &self,
        request: Request<v1::ListMetricsRequest>,
    ) -> Result<Response<v1::ListMetricsResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.list_metrics(request).await
    }

    async fn list_curves(
        &self,
        request: Request<v1::ListCurvesRequest>,
    ) -> Result<Response<v1::ListCurvesResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.list_curves(request).await
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.list_checkpoints(request).await
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.get_checkpoint(request).await
    }

    async fn pin_checkpoint(
        &self,
        request: Request<v1::PinCheckpointRequest>,
    ) -> Result<Response<v1::PinCheckpointResponse>, Status> {
        self.check(&request, &request.get_ref().job_id).await?;
        self.0.pin_checkpoint(request).await
    }
}
