//! Where methods fall together: the same numbers and the same gradients from two formulas.

use kindred_proto::{
    job_spec::{self, JobSpec},
    recipe::Method,
};
use kindred_worker::nn::{Stream, normalize};
use tch::Tensor;

mod infomin;
mod isd;
mod learned_views;
mod sane;
mod sce;

/// A method with its published parameters, on Fashion-MNIST.
fn published(name: &str) -> Method {
    let text = format!(
        "name: identity\nranks: 1\ndevice: cpu\nrecipe:\n  data: {{fashion_mnist: {{}}}}\n  method: {{{name}: {{}}}}\n"
    );
    let wire = job_spec::from_yaml(&text, &[]).expect("the text is a job");
    JobSpec::check(&wire).expect("the job is sound").recipe.method
}

/// Rows of unit length, of normal draws, in f64.
fn rows(name: &str, n_rows: i64, dim: i64) -> Tensor {
    let mut stream = Stream::new(0, name);
    let values: Vec<f64> = (0..n_rows * dim).map(|_| stream.normal()).collect();
    normalize(&Tensor::from_slice(&values).view([n_rows, dim]))
}

/// Queries, their keys, and a queue.
struct Embedded {
    q_bd: Tensor,
    k_bd: Tensor,
    queue_kd: Tensor,
}

fn embedded() -> Embedded {
    let q_bd = rows("q", 6, 8).set_requires_grad(true);
    Embedded { q_bd, k_bd: rows("k", 6, 8), queue_kd: rows("queue", 20, 8) }
}

/// The gradient of a loss with respect to the queries.
fn gradient(loss: &Tensor, q_bd: &Tensor) -> Tensor {
    Tensor::run_backward(&[loss], &[q_bd], true, false).remove(0)
}

fn assert_close(one: &Tensor, other: &Tensor) {
    let difference = (one - other).abs().max().double_value(&[]);
    assert!(difference < 1e-12, "differ by {difference:e}");
}
