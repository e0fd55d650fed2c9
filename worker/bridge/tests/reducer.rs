//! Gradient averaging during the backward pass, with ranks as threads.

mod ranks;

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use kindred_bridge::{
    Error, ErrorKind, ProcessGroup, ReduceOp, Reducer, ReducerOptions, SgdStep, backward, clear_grads,
    fused_sgd,
};
use ranks::{TIMEOUT, beside_an_idle_peer, noise, on_ranks};
use tch::{Device, Kind, Tensor};

/// Small buckets, so that there are several.
const OPTIONS: ReducerOptions = ReducerOptions { bucket_bytes: 512, first_bucket_bytes: 64 };
const STEP: SgdStep = SgdStep { lr: 0.1, momentum: 0.0, weight_decay: 0.0, nesterov: false };

/// Three layers, and weights that no output depends on.
struct Net {
    layers: Vec<Tensor>,
    unused: Tensor,
}

impl Net {
    fn new() -> Net {
        let weight = |layer| noise(&[8, 8], layer).set_requires_grad(true);
        Net { layers: (0..3).map(weight).collect(), unused: noise(&[5], 3).set_requires_grad(true) }
    }

    fn parameters(&self) -> Vec<&Tensor> {
        self.layers.iter().chain([&self.unused]).collect()
    }

    fn loss(&self, input: &Tensor) -> Tensor {
        let output =
            self.layers.iter().fold(input.shallow_clone(), |hidden, weight| hidden.matmul(weight).tanh());
        output.square().mean(None)
    }
}

fn input(step: i64, rank: u32, world_size: u32) -> Tensor {
    noise(&[4 * i64::from(world_size), 8], 10 + step).narrow(0, 4 * i64::from(rank), 4)
}

fn step(net: &Net, reducer: &mut Reducer, input: &Tensor) -> Result<(), Error> {
    let parameters = net.parameters();
    clear_grads(&parameters);
    reducer.prepare_forward()?;
    let loss = net.loss(input);
    reducer.prepare_backward(&[&loss])?;
    backward(&loss)?;
    let gradients: Vec<Tensor> = parameters.iter().map(|parameter| parameter.grad()).collect();
    fused_sgd(&parameters, &gradients, &[] as &[Tensor], STEP)
}

/// Trains three steps; the reducer is made anew before the second when asked to.
fn train(group: &ProcessGroup, is_remade: bool) -> Net {
    let net = Net::new();
    let new_reducer = || Reducer::new(group, &net.parameters(), OPTIONS).expect("all ranks are here");
    let mut reducer = new_reducer();
    for n in 0..3 {
        if n == 1 && is_remade {
            drop(reducer);
            clear_grads(&net.parameters());
            reducer = new_reducer();
        }
        let input = input(n, group.rank(), group.world_size());
        step(&net, &mut reducer, &input).expect("all ranks are here");
    }
    net
}

fn bits(net: &Net) -> Vec<u64> {
    let values =
        |tensor: &Tensor| Vec::<f64>::try_from(tensor.reshape([-1])).expect("one dimension of doubles");
    net.parameters().into_iter().flat_map(values).map(f64::to_bits).collect()
}

#[test]
fn ranks_average_to_what_one_process_computes() {
    for world_size in [2, 3] {
        let alone = Net::new();
        for n in 0..3 {
            let parts: Vec<Tensor> = (0..world_size).map(|rank| input(n, rank, world_size)).collect();
            clear_grads(&alone.parameters());
            backward(&alone.loss(&Tensor::cat(&parts, 0))).expect("nobody else takes part");
            let gradients: Vec<Tensor> =
                alone.parameters().iter().map(|parameter| parameter.grad()).collect();
            fused_sgd(&alone.parameters(), &gradients, &[] as &[Tensor], STEP).expect("the lists match");
        }
        let nets = on_ranks(world_size, |group| train(&group, false));
        for net in &nets {
            assert_eq!(bits(net), bits(&nets[0]), "ranks differ");
            for (parameter, expected) in net.parameters().iter().zip(alone.parameters()) {
                let off = (*parameter - expected).abs().max().double_value(&[]);
                assert!(off < 1e-14, "{world_size} ranks: off by {off:e}");
            }
        }
    }
}

#[test]
fn a_reducer_made_anew_gives_the_same_bits() {
    let nets = on_ranks(3, |group| (train(&group, false), train(&group, true)));
    for (kept, remade) in &nets {
        assert_eq!(bits(kept), bits(remade));
    }
}

#[test]
fn parameters_come_into_use_and_go_out_of_it() {
    on_ranks(2, |group| {
        let net = Net::new();
        let mut reducer = Reducer::new(&group, &net.parameters(), OPTIONS).expect("all ranks are here");
        for n in 0..4 {
            let is_used = n == 1 || n == 2;
            clear_grads(&net.parameters());
            reducer.prepare_forward().expect("the step before ended");
            let loss = net.loss(&input(n, group.rank(), 2));
            let loss = if is_used { loss + net.unused.square().sum(None) } else { loss };
            reducer.prepare_backward(&[&loss]).expect("the step before ended");
            backward(&loss).expect("all ranks are here");
            assert_eq!(net.unused.grad().defined(), is_used, "step {n}");
        }
    });
}

#[test]
fn a_parameter_that_wants_no_gradient_is_refused() {
    on_ranks(1, |group| {
        let frozen = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let error = Reducer::new(&group, &[frozen], OPTIONS).err().expect("the parameter is frozen");
        assert!(error.message.contains("without gradient"), "{error}");
    });
}

#[test]
fn a_peer_lost_between_steps_ends_the_backward_pass_with_an_error() {
    on_ranks(3, |group| {
        let net = Net::new();
        let mut reducer = Reducer::new(&group, &net.parameters(), OPTIONS).expect("all ranks are here");
        step(&net, &mut reducer, &input(0, group.rank(), 3)).expect("all ranks are here");
        if group.rank() == 2 {
            return;
        }
        let error = step(&net, &mut reducer, &input(1, group.rank(), 3)).expect_err("rank 2 is gone");
        assert_eq!(error.kind, ErrorKind::PeerLost, "{error}");
        assert!(error.message.starts_with("backward pass: "), "{error}");
    });
}

#[test]
fn an_abort_ends_a_backward_pass_that_waits_for_a_hanging_peer() {
    beside_an_idle_peer(TIMEOUT, |group| {
        let net = Net::new();
        let mut reducer = Reducer::new(&group, &net.parameters(), OPTIONS).expect("all ranks are here");
        let (started, aborter, is_about_to) = (Instant::now(), group.aborter(), Barrier::new(2));
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                is_about_to.wait();
                aborter.abort().expect("Gloo has nothing that could fail");
            });
            is_about_to.wait();
            step(&net, &mut reducer, &input(0, 0, 2)).expect_err("rank 1 hangs")
        });
        assert_eq!(error.kind, ErrorKind::PeerLost, "{error}");
        drop((reducer, group));
        assert!(started.elapsed() < TIMEOUT / 4, "{:?}", started.elapsed());
    });
}

#[test]
fn survivors_train_on_in_a_new_group() {
    let store = kindred_bridge::Store::in_process().expect("there is memory for a store");
    let nets = ranks::on_ranks_of(&store, 3, |group| {
        let net = Net::new();
        let mut reducer = Reducer::new(&group, &net.parameters(), OPTIONS).expect("all ranks are here");
        if group.rank() == 2 {
            return None;
        }
        step(&net, &mut reducer, &input(0, group.rank(), 3)).expect_err("rank 2 is gone");
        let rank = group.rank();
        drop((reducer, group));
        let options = kindred_bridge::GroupOptions {
            name: "generation 2".to_owned(),
            ..ranks::options(rank, 2, ranks::TIMEOUT)
        };
        let group = ProcessGroup::connect(&store, &options).expect("both survivors come");
        clear_grads(&net.parameters());
        let mut reducer = Reducer::new(&group, &net.parameters(), OPTIONS).expect("both survivors are here");
        step(&net, &mut reducer, &input(0, rank, 2)).expect("both survivors are here");
        Some(bits(&net))
    });
    assert!(nets[0].is_some() && nets[0] == nets[1] && nets[2].is_none());
}

#[test]
fn gradients_flow_through_all_gather_to_every_rank() {
    on_ranks(2, |group| {
        let rank = f64::from(group.rank());
        let local = Tensor::from_slice(&[1.0 + rank, 2.0]).set_requires_grad(true);
        let gathered = group.all_gather_with_grad(&local).expect("both ranks are here");
        // Rank r weighs everything with r + 1: the gradient is the sum over ranks, 1 + 2.
        backward(&(gathered.sum(None) * (rank + 1.0))).expect("both ranks are here");
        assert_eq!(local.grad(), Tensor::from_slice(&[3.0, 3.0]));
        group.all_reduce(&local.grad(), ReduceOp::Sum).expect("both ranks are here");
    });
}
