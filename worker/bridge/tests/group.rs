//! Process groups over Gloo, with ranks as threads of this process.

mod ranks;

use kindred_bridge::ReduceOp;
use ranks::on_ranks;
use tch::Tensor;

#[test]
fn two_ranks_sum_their_tensors() {
    on_ranks(2, |group| {
        let tensor = Tensor::from_slice(&[f64::from(group.rank()), 1.0]);
        group.all_reduce(&tensor, ReduceOp::Sum).expect("both ranks are here");
        assert_eq!(tensor, Tensor::from_slice(&[1.0, 2.0]));
    });
}
