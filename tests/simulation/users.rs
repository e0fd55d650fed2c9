//! Users: they submit their jobs until they are stored, sometimes twice, and cancel some.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kindred_coordinator::{engine::Handle, model::Cordon};
use kindred_proto::{
    failure::{Kind, Reason},
    ids::{JobId, NodeId},
    job_spec::{self, AnySpec},
    v1,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{schedule::Submitted, world::World};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(700);

/// How long a user waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// All users of a run.
pub struct Users {
    world: World,
    handle: watch::Receiver<Option<Handle>>,
    tasks: JoinSet<()>,
    job_ids: Arc<Mutex<Vec<JobId>>>,
}

impl Users {
    pub fn new(world: &World, handle: watch::Receiver<Option<Handle>>) -> Self {
        Self { world: world.clone(), handle, tasks: JoinSet::new(), job_ids: Arc::default() }
    }

    /// Submits a job at its time, and, as a user who saw no answer does, once more.
    pub fn submit(&mut self, number: usize, job: &Submitted) {
        let spec = AnySpec::check(&spec(number, job)).expect("a good spec");
        let (world, handle, job_ids, at) =
            (self.world.clone(), self.handle.clone(), self.job_ids.clone(), job.at);
        self.tasks.spawn(async move {
            sleep(at).await;
            let first = submit(&handle, &spec, number).await;
            job_ids.lock().expect("nothing panics with it").push(first.clone());
            sleep(PAUSE).await;
            let second = submit(&handle, &spec, number).await;
            if first != second {
                world.truth().check(Err(format!("one request became {first} and {second}")));
            }
        });
    }

    /// Cancels one of the jobs, if there is one and it can be.
    pub fn cancel(&mut self, nth: usize) {
        let job_ids = self.job_ids.lock().expect("nothing panics with it").clone();
        let Some(job_id) = job_ids.get(nth % job_ids.len().max(1)).cloned() else { return };
        self.world.truth().note(format!("a user cancels {job_id}"));
        let handle = self.handle.borrow().clone();
        self.tasks.spawn(async move {
            if let Some(handle) = handle {
                // Whether it still can be is none of this user's affair.
                let _ = timeout(PATIENCE, handle.cancel_job(&job_id, "no longer needed")).await;
            }
        });
    }

    /// An operator drains a node, unless the coordinator cannot be asked just now.
    pub fn drain(&mut self, node: usize) {
        self.world.truth().note(format!("an operator drains node-{node}"));
        let handle = self.handle.borrow().clone();
        self.tasks.spawn(async move {
            if let Some(handle) = handle {
                let cordon = Cordon { reason: String::new(), drains: true };
                // Whether it is there is none of this operator's affair.
                let _ = timeout(PATIENCE, handle.cordon_node(&node_id(node), Some(cordon))).await;
            }
        });
    }

    /// An operator takes a node back, and tries until that is stored.
    pub fn uncordon(&mut self, node: usize) {
        self.world.truth().note(format!("an operator takes node-{node} back"));
        let handle = self.handle.clone();
        self.tasks.spawn(async move {
            loop {
                let present = handle.borrow().clone();
                if let Some(handle) = present {
                    match timeout(PATIENCE, handle.cordon_node(&node_id(node), None)).await {
                        Ok(Ok(_)) => return,
                        Ok(Err(failure)) if failure.reason == Reason::NodeNotFound => return,
                        Ok(Err(failure)) => assert_eq!(failure.kind(), Kind::Retryable, "{failure}"),
                        Err(_) => {}
                    }
                }
                sleep(PAUSE).await;
            }
        });
    }

    /// Whether all have what they asked for.
    pub fn are_content(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.is_empty()
    }
}

fn node_id(node: usize) -> NodeId {
    NodeId::new(format!("node-{node}"))
}

/// Tries until the job is stored.
async fn submit(handle: &watch::Receiver<Option<Handle>>, spec: &AnySpec, number: usize) -> JobId {
    loop {
        let present = handle.borrow().clone();
        if let Some(handle) = present {
            match timeout(PATIENCE, handle.create_job(spec, &format!("request-{number}"))).await {
                Ok(Ok(job)) => return JobId::new(job.id),
                Ok(Err(failure)) => assert_eq!(failure.kind(), Kind::Retryable, "{failure}"),
                Err(_) => {}
            }
        }
        sleep(PAUSE).await;
    }
}

fn spec(number: usize, job: &Submitted) -> v1::JobSpec {
    let Submitted { n_ranks, n_steps, checkpoint_every, n_kept, priority, .. } = job;
    // Every other job takes what it gets.
    let (fewest, most) = if number.is_multiple_of(2) { (1, n_ranks + 1) } else { (*n_ranks, *n_ranks) };
    let text = format!(
        "
name: simulated-{number}
ranks: {n_ranks}
min_ranks: {fewest}
priority: {priority}
max_ranks: {most}
device: cpu
recipe:
  data: {{fashion_mnist: {{root: fashion-mnist}}}}
  encoder: {{resnet: {{depth: 18, width: 8, stem: cifar}}}}
  method: {{sce: {{queue_size: 480}}}}
  optimizer: {{sgd: {{lr: 0.03}}}}
  training: {{global_batch: 48, max_steps: {n_steps}}}
  checkpoint: {{every_steps: {checkpoint_every}, keep_last: {n_kept}}}
"
    );
    job_spec::from_yaml(&text, &[]).expect("a good spec")
}
