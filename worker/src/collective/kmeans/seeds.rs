//! Where a start of k-means begins: k-means++ over a sample of all rows.

use kindred_data::Order;
use tch::{Device, Kind, Tensor};

use super::{Error, shard::Shard};
use crate::nn::Stream;

/// Rows that are sampled for each cluster, and at least, where there are so many.
const SAMPLED_PER_CLUSTER: i64 = 8;
const SAMPLED_AT_LEAST: i64 = 20_000;

/// Weights that are added up on the device at once.
const BLOCK: i64 = 1024;

/// Rows of the sample, `[c, f]`, the same on every rank.
///
/// Each is drawn with the probability of its squared distance to the nearest one before it.
pub(super) fn draw(shard: &Shard, n_clusters: i64, seed: u64, start: u64) -> Result<Tensor, Error> {
    let n_sampled = (SAMPLED_PER_CLUSTER * n_clusters).max(SAMPLED_AT_LEAST).min(shard.n_all);
    let sample_sf = sample(shard, n_sampled, seed, start)?;
    let mut stream = Stream::new(seed, &format!("k-means {start}"));
    let seeds_cf = match shard.collective.rank() {
        0 => spread(&sample_sf, n_clusters, &mut stream),
        _ => Tensor::zeros([n_clusters, sample_sf.size()[1]], (sample_sf.kind(), sample_sf.device())),
    };
    shard.collective.broadcast_(&[&seeds_cf], 0)?;
    Ok(seeds_cf)
}

/// Distinct rows, by their numbers among all ranks' rows.
fn sample(shard: &Shard, n_sampled: i64, seed: u64, start: u64) -> Result<Tensor, Error> {
    let order = Order::new(shard.n_all as u64, seed, start);
    let own = shard.first..shard.first + shard.rows_bf.size()[0];
    let sampled = (0..n_sampled).map(|position| (position, order.at(position as u64) as i64));
    let (positions, rows): (Vec<i64>, Vec<i64>) = sampled
        .filter(|(_, row)| own.contains(row))
        .map(|(position, row)| (position, row - own.start))
        .unzip();
    let device = shard.rows_bf.device();
    let on_device = |values: &[i64]| Tensor::from_slice(values).to_device(device);
    let rows_bf = shard.rows_bf.index_select(0, &on_device(&rows));
    let options = (shard.rows_bf.kind(), device);
    let sample_sf = Tensor::zeros([n_sampled, shard.rows_bf.size()[1]], options);
    shard.total(&sample_sf.index_copy(0, &on_device(&positions), &rows_bf))
}

/// k-means++.
fn spread(sample_sf: &Tensor, n_clusters: i64, stream: &mut Stream) -> Tensor {
    let n_sampled = sample_sf.size()[0];
    let mut chosen = vec![(stream.unit() * n_sampled as f64) as i64];
    let mut weight_s = squared_distance(sample_sf, chosen[0]);
    while (chosen.len() as i64) < n_clusters {
        let next = pick(&weight_s, stream.unit());
        weight_s = weight_s.minimum(&squared_distance(sample_sf, next));
        chosen.push(next);
    }
    sample_sf.index_select(0, &Tensor::from_slice(&chosen).to_device(sample_sf.device()))
}

fn squared_distance(rows_sf: &Tensor, row: i64) -> Tensor {
    (rows_sf - rows_sf.get(row)).square().sum_dim_intlist([1_i64].as_slice(), false, None)
}

/// The place where the running sum of the weights passes this share of their total; any place where all are zero.
///
/// By blocks: a device's running sum is not the same bits twice, its sums are.
fn pick(weight_s: &Tensor, share: f64) -> i64 {
    let n_weights = weight_s.size()[0];
    let n_padded = (n_weights + BLOCK - 1) / BLOCK * BLOCK;

    let padded = weight_s.to_kind(Kind::Double).constant_pad_nd([0, n_padded - n_weights]);
    let weight_pb = padded.view([-1, BLOCK]);
    let blocks = to_vec(&weight_pb.sum_dim_intlist([1_i64].as_slice(), false, None));
    let total: f64 = blocks.iter().sum();
    if total <= 0.0 {
        return (share * n_weights as f64) as i64;
    }
    let (block, rest) = passes(&blocks, share * total);
    let (within, _) = passes(&to_vec(&weight_pb.get(block as i64)), rest);
    (block as i64 * BLOCK + within as i64).min(n_weights - 1)
}

/// Where the running sum passes the target, and what of the target is left there; the last place with weight when
/// rounding keeps it from passing.
fn passes(weights: &[f64], target: f64) -> (usize, f64) {
    let mut left = target;
    let mut last = (0, 0.0);
    for (place, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = (place, left);
        if left < weight {
            break;
        }
        left -= weight;
    }
    last
}

fn to_vec(flat: &Tensor) -> Vec<f64> {
    Vec::try_from(flat.to_device(Device::Cpu)).expect("a flat f64 tensor")
}
