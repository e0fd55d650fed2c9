//! Ranks as threads, compared with one that holds all rows, and with loops.

use tch::Device;

use super::*;
use crate::collective::on_threads;

const SETTINGS: KMeans = KMeans { n_clusters: 4, n_iterations: 50, n_starts: 3, seed: 7 };

/// Rows around four corners, in turn; not from libtorch's generator, which all threads share.
fn rows(n: i64) -> Tensor {
    let options = (Kind::Double, Device::Cpu);
    let corner_n = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(4);
    let corners = Tensor::from_slice2(&[[0.0, 0.0, 5.0], [5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [5.0, 5.0, 5.0]]);
    let noise = (Tensor::arange(3 * n, options) * 12.9898).sin().view([n, 3]) * 0.4;
    corners.index_select(0, &corner_n) + noise
}

/// The rows of a rank, with shares of different sizes; the last of many ranks has none.
fn share(rows: &Tensor, collective: &Collective) -> Tensor {
    let n = rows.size()[0];
    let bounds = match collective.world_size() {
        1 => vec![0, n],
        2 => vec![0, n / 3, n],
        _ => vec![0, n / 3, n, n],
    };
    let rank = collective.rank() as usize;
    rows.narrow(0, bounds[rank], bounds[rank + 1] - bounds[rank])
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).reshape([-1])).expect("a flat f64 tensor")
}

fn clustered(n: i64, world_size: u32) -> Vec<Clusters> {
    on_threads(world_size, |collective| {
        SETTINGS.cluster(&share(&rows(n), &collective), &collective).expect("all ranks are here")
    })
}

#[test]
fn any_number_of_ranks_finds_the_same_clusters() {
    let one = clustered(90, 1).remove(0);
    assert_eq!(numbers(&one.counts_c).iter().sum::<f64>(), 90.0);
    for world_size in [2, 3] {
        let ranks = clustered(90, world_size);
        let together: Vec<f64> = ranks.iter().flat_map(|clusters| numbers(&clusters.cluster_b)).collect();
        assert_eq!(together, numbers(&one.cluster_b));
        for clusters in &ranks {
            let off = (&clusters.centroids_cf - &one.centroids_cf).abs().max().double_value(&[]);
            assert!(off < 1e-12 && (clusters.inertia - one.inertia).abs() < 1e-12, "off by {off:e}");
            assert_eq!(clusters.counts_c, one.counts_c);
        }
    }
}

#[test]
fn rows_of_one_corner_make_one_cluster() {
    let clusters = SETTINGS.cluster(&rows(40), &Collective::single()).expect("nobody else takes part");
    let cluster = numbers(&clusters.cluster_b);
    for (row, own) in cluster.iter().enumerate() {
        assert_eq!(*own, cluster[row % 4]);
    }
    assert_eq!(numbers(&clusters.counts_c), [10.0; 4]);
}

#[test]
fn the_end_of_the_iterations_is_a_fixed_point_by_loops() {
    let rows_bf = (Tensor::arange(120, (Kind::Double, Device::Cpu)) * 78.233).sin().view([40, 3]);
    let clusters = SETTINGS.cluster(&rows_bf, &Collective::single()).expect("nobody else takes part");
    let (rows, centroids) = (numbers(&rows_bf), numbers(&clusters.centroids_cf));
    let distance = |row: usize, cluster: usize| -> f64 {
        (0..3).map(|at| (rows[3 * row + at] - centroids[3 * cluster + at]).powi(2)).sum()
    };
    let mut inertia = 0.0;
    for (row, &cluster) in numbers(&clusters.cluster_b).iter().enumerate() {
        let own = distance(row, cluster as usize);
        assert!((0..4).all(|other| own <= distance(row, other) + 1e-12), "row {row}");
        inertia += own / 40.0;
    }
    assert!((clusters.inertia - inertia).abs() < 1e-12);
    for cluster in 0..4 {
        let own = numbers(&clusters.cluster_b);
        let members: Vec<usize> = (0..40).filter(|&row| own[row] == cluster as f64).collect();
        for at in 0..3 {
            let mean = members.iter().map(|&row| rows[3 * row + at]).sum::<f64>() / members.len() as f64;
            assert!((centroids[3 * cluster + at] - mean).abs() < 1e-12, "cluster {cluster}");
        }
    }
}

#[test]
fn a_start_more_is_never_worse_and_a_seed_gives_one_result() {
    let rows = (Tensor::arange(600, (Kind::Double, Device::Cpu)) * 78.233).sin().view([200, 3]);
    let inertia = |n_starts, seed| {
        let settings = KMeans { n_clusters: 12, n_starts, seed, ..SETTINGS };
        settings.cluster(&rows, &Collective::single()).expect("nobody else takes part").inertia
    };
    assert_eq!(inertia(1, 3).to_bits(), inertia(1, 3).to_bits());
    assert!(inertia(5, 3) <= inertia(1, 3));
    assert!((1..5).any(|seed| inertia(1, seed) != inertia(1, 0)));
}

#[test]
fn an_empty_cluster_takes_the_farthest_row_of_the_largest_one() {
    for world_size in [1, 2, 3] {
        let filled = on_threads(world_size, |collective| {
            let rows = Tensor::from_slice(&[0.0, 1.0, 9.0, 2.0, 20.0, 21.0]).view([6, 1]);
            let centroids = Tensor::from_slice(&[1.0, 50.0, 20.0]).view([3, 1]);
            let cluster = Tensor::from_slice(&[0_i64, 0, 0, 0, 2, 2]);
            let (own, cluster) = (share(&rows, &collective), share(&cluster, &collective));
            let shard = Shard::of(&own, &collective).expect("all ranks are here");
            let mut assignment = shard.assigned(&centroids, cluster);
            shard.fill_empty(&mut assignment, 3).expect("all ranks are here");
            numbers(&assignment.cluster_b)
        });
        assert_eq!(filled.concat(), [0.0, 0.0, 1.0, 0.0, 2.0, 2.0], "{world_size} ranks");
    }
}

#[test]
fn fewer_distinct_rows_than_clusters_leave_some_empty() {
    let rows = Tensor::from_slice(&[1.0, 1.0, 4.0, 1.0, 4.0]).view([5, 1]);
    let clusters = SETTINGS.cluster(&rows, &Collective::single()).expect("nobody else takes part");
    let mut counts = numbers(&clusters.counts_c);
    counts.sort_by(f64::total_cmp);
    assert_eq!((counts, clusters.inertia), (vec![0.0, 0.0, 2.0, 3.0], 0.0));
    let phi = clusters.concentration(&rows, 10.0, 0.2, &Collective::single());
    assert_eq!(numbers(&phi.expect("nobody else takes part")), [0.2; 4]);
}

#[test]
fn no_row_at_all_is_refused() {
    let rows = Tensor::zeros([0, 3], (Kind::Float, Device::Cpu));
    let error = SETTINGS.cluster(&rows, &Collective::single()).err().expect("nothing to cluster");
    assert_eq!(error.message, "k-means: there is no row to cluster");
}
