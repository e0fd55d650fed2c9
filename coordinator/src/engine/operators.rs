//! What operators ask of the engine: nodes, and why jobs wait.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{JobId, NodeId},
    job_spec::AnySpec,
    v1,
};

use super::{
    Handle,
    command::{Answer, Command},
    shutting_down,
};
use crate::model::{Cordon, Event, Model, Submission, Timestamp};

impl Handle {
    /// All nodes, by id.
    ///
    /// # Errors
    /// Only when the engine is gone.
    pub async fn list_nodes(&self) -> Result<Vec<v1::Node>, Failure> {
        self.ask(|now, model| Ok(model.state().nodes().map(|node| model.node_view(now, node)).collect()))
            .await
    }

    /// One node.
    ///
    /// # Errors
    /// `NODE_NOT_FOUND`.
    pub async fn get_node(&self, node_id: &NodeId) -> Result<v1::Node, Failure> {
        let node_id = node_id.clone();
        self.ask(move |now, model| {
            let node = model.state().node(&node_id).map(|node| model.node_view(now, node));
            node.ok_or_else(|| {
                Failure::new(Reason::NodeNotFound, format!("there is no node {node_id}")).about("node_id")
            })
        })
        .await
    }

    /// Lets a node have no new ranks, or ranks again; a node that is as wanted is given as it is.
    ///
    /// # Errors
    /// `NODE_NOT_FOUND`, `JOURNAL_UNAVAILABLE`.
    pub async fn cordon_node(&self, node_id: &NodeId, cordon: Option<Cordon>) -> Result<v1::Node, Failure> {
        let (node_id, event) = (node_id.clone(), Event::CordonRequested { node_id: node_id.clone(), cordon });
        let caller = self.caller();
        self.call(|reply| Command::Wish { event, answer: Answer::Node { node_id, reply }, caller }).await
    }

    /// Why a job waits, and what would help it.
    ///
    /// # Errors
    /// `JOB_NOT_FOUND`.
    pub async fn explain_job(&self, job_id: &JobId) -> Result<v1::Explanation, Failure> {
        let job_id = job_id.clone();
        self.on_copy(move |now, model| Ok(model.explain(now, model.job(&job_id)?))).await
    }

    /// What would become of a job that is not handed in.
    ///
    /// # Errors
    /// Only when the engine is gone.
    pub async fn explain_spec(&self, spec: &AnySpec) -> Result<v1::Explanation, Failure> {
        let submission = Submission::new(spec);
        self.on_copy(move |now, model| Ok(model.explain_submission(now, &submission))).await
    }

    /// All queues, each before those that it is divided into.
    ///
    /// # Errors
    /// Only when the engine is gone.
    pub async fn list_queues(&self) -> Result<Vec<v1::Queue>, Failure> {
        self.on_copy(|now, model| Ok(model.queues(now))).await
    }

    /// Lets a function that takes its time read a copy of the model: the engine goes on meanwhile.
    pub(super) async fn on_copy<T: Send + 'static>(
        &self,
        read: impl FnOnce(Timestamp, &Model) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (now, model) = self.ask(|now, model| Ok((now, model.clone()))).await?;
        tokio::task::spawn_blocking(move || read(now, &model)).await.map_err(|_| shutting_down())?
    }
}
