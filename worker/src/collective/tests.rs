//! Ranks as threads, compared with one process that holds everything.

use kindred_bridge::backward;
use tch::{Device, Kind, Tensor};

use super::*;

/// Rows per rank.
const B: i64 = 4;

fn embeddings(world_size: u32) -> Tensor {
    // Not from libtorch's generator, which all threads share.
    (Tensor::arange(B * i64::from(world_size) * 3, (Kind::Double, Device::Cpu)) * 12.9898)
        .sin()
        .reshape([-1, 3])
}

/// A loss that ties every row to every other: cross entropy of each row's similarities, its neighbour being the target.
/// `rows_bd` are the rows from `first` on of `all_nd`.
fn loss(rows_bd: &Tensor, all_nd: &Tensor, first: i64) -> Tensor {
    let logits_bn = rows_bd.matmul(&all_nd.tr());
    let n = all_nd.size()[0];
    let targets_b =
        (Tensor::arange(rows_bd.size()[0], (Kind::Int64, Device::Cpu)) + (first + 1)).remainder(n);
    // tch's cross entropy would compute in f32.
    logits_bn.log_softmax(-1, Kind::Double).nll_loss(&targets_b)
}

fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn gathered_gradients_equal_those_of_one_process() {
    for world_size in [2, 3] {
        let all_nd = embeddings(world_size).set_requires_grad(true);
        let expected_loss = loss(&all_nd, &all_nd, 0);
        backward(&expected_loss).expect("nobody else takes part");
        let expected_grad_nd = all_nd.grad();
        let ranks = on_threads(world_size, |collective| {
            let first = i64::from(collective.rank()) * B;
            let rows_bd = embeddings_of(collective.rank(), world_size).set_requires_grad(true);
            let gathered_nd = collective.gather_with_grad(&rows_bd).expect("all ranks are here");
            let loss = loss(&rows_bd, &gathered_nd, first);
            backward(&loss).expect("all ranks are here");
            (rows_bd.grad() / f64::from(world_size), loss.detach())
        });
        let (grads, losses): (Vec<Tensor>, Vec<Tensor>) = ranks.into_iter().unzip();
        let off = max_difference(&Tensor::cat(&grads, 0), &expected_grad_nd);
        assert!(off < 1e-12, "{world_size} ranks: off by {off:e}");
        assert!(
            max_difference(&Tensor::stack(&losses, 0).mean(None), &expected_loss) < 1e-12,
            "{world_size} ranks"
        );
    }
}

#[test]
fn gather_is_in_rank_order_and_without_gradient() {
    for gathered_nd in on_threads(3, |collective| {
        let rows_bd = embeddings_of(collective.rank(), 3).set_requires_grad(true);
        collective.gather(&rows_bd).expect("all ranks are here")
    }) {
        assert_eq!(gathered_nd, embeddings(3));
        assert!(!gathered_nd.requires_grad());
    }
}

#[test]
fn the_mean_is_the_same_on_every_rank() {
    let means = on_threads(3, |collective| {
        let rank = f64::from(collective.rank());
        let tensors = [
            Tensor::full([2, 3], rank * 0.1, (Kind::Float, Device::Cpu)),
            Tensor::from_slice(&[rank]),
            Tensor::full([], 3.0 * rank, (Kind::BFloat16, Device::Cpu)),
        ];
        collective.mean_(&tensors).expect("all ranks are here");
        tensors
    });
    for tensors in &means {
        assert_eq!(digest(tensors), digest(&means[0]));
        assert!((tensors[0].double_value(&[1, 2]) - 0.1).abs() < 1e-7);
        assert_eq!((tensors[1].double_value(&[0]), tensors[2].double_value(&[])), (1.0, 3.0));
        assert_eq!(tensors[2].kind(), Kind::BFloat16);
    }
}

#[test]
fn counts_have_no_mean() {
    let error = Collective::single().mean_(&[Tensor::from_slice(&[1_i64])]).expect_err("a count is no mean");
    assert_eq!(error.message, "mean over ranks: a tensor holds Int64");
}

#[test]
fn broadcast_overwrites_every_tensor_in_place() {
    for (tensors, handles) in on_threads(3, |collective| {
        let rank = i64::from(collective.rank());
        let matrix = Tensor::from_slice(&[rank, 2, 3, 4, 5, 6]).to_kind(Kind::Float).reshape([2, 3]);
        let transposed = matrix.tr().contiguous().tr().set_requires_grad(true);
        let empty = Tensor::zeros([0, 4], (Kind::Float, Device::Cpu));
        let count = Tensor::from(rank);
        let tensors = [transposed, matrix, empty, count, Tensor::from_slice(&[rank == 1])];
        let handles = tensors.each_ref().map(Tensor::shallow_clone);
        collective.broadcast_(&tensors, 1).expect("all ranks are here");
        (tensors, handles)
    }) {
        let matrix = Tensor::from_slice(&[1_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape([2, 3]);
        assert_eq!((&tensors[0].detach(), &tensors[1]), (&matrix, &matrix));
        assert_eq!((tensors[3].int64_value(&[]), tensors[4].int64_value(&[0])), (1, 1));
        assert!(tensors.iter().zip(&handles).all(|(tensor, handle)| tensor.data_ptr() == handle.data_ptr()));
    }
}

#[test]
fn parcels_hold_neighbours_of_one_kind_up_to_their_size() {
    let of = |kind: Kind, n: i64| Tensor::zeros([n], (kind, Device::Cpu));
    let third = (PARCEL_BYTES / 4 / 3) as i64;
    let tensors = [
        of(Kind::Float, 1),
        of(Kind::Int64, 1),
        of(Kind::Float, third),
        of(Kind::Float, third),
        of(Kind::Float, 2 * third),
    ];
    let lens = |parcels: Vec<&[&Tensor]>| parcels.iter().map(|parcel| parcel.len()).collect::<Vec<_>>();
    assert_eq!(lens(parcels(&tensors.iter().collect::<Vec<_>>()).collect()), [1, 1, 2, 1]);
}

#[test]
fn bytes_of_any_length_are_gathered() {
    for lens in [[0, 0, 0], [5, 0, 1], [1, 1000, 3]] {
        let of_rank = |rank: u32| vec![rank as u8; lens[rank as usize]];
        let gathered = on_threads(3, |collective| {
            let gathered = collective.gather_bytes(&of_rank(collective.rank())).expect("all ranks are here");
            collective.barrier().expect("all ranks are here");
            gathered
        });
        assert!(gathered.iter().all(|all| *all == [of_rank(0), of_rank(1), of_rank(2)]), "{lens:?}");
    }
}

#[test]
fn a_world_of_one_needs_nobody() {
    let alone = Collective::single();
    let rows_bd = embeddings(1).set_requires_grad(true);
    assert!(!alone.gather(&rows_bd).expect("nobody else takes part").requires_grad());
    assert!(alone.gather_with_grad(&rows_bd).expect("nobody else takes part").requires_grad());
    alone.mean_(&[embeddings(1)]).expect("nobody else takes part");
    alone.broadcast_(&[&rows_bd], 0).expect("nobody else takes part");
    alone.barrier().expect("nobody else takes part");
    assert_eq!(alone.gather_bytes(b"mine").expect("nobody else takes part"), [b"mine"]);
    assert!(alone.reducer(&[&rows_bd]).expect("nobody else takes part").is_none());
}

#[test]
fn a_lost_peer_is_an_error() {
    on_threads(2, |collective| {
        if collective.rank() == 0 {
            let error = collective.gather_bytes(b"0").expect_err("rank 1 is gone");
            assert_eq!(error.kind, ErrorKind::PeerLost, "{error}");
        }
    });
}

fn embeddings_of(rank: u32, world_size: u32) -> Tensor {
    embeddings(world_size).narrow(0, i64::from(rank) * B, B)
}
