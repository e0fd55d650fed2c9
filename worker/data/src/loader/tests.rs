use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kindred_proto::recipe::{DataKind, DataSource, View};

use super::queue::{Draft, Queue};
use super::worker::{self, Recipe};
use super::{Loader, LoaderConfig};
use crate::testing::{folder, full_view, idx_set, open_folder, plain_view};
use crate::{Batch, Dataset, Error, Pipeline, Plan, Split, ViewBatch};

fn config(
    dataset: &Dataset,
    (rank, world_size): (u32, u32),
    (n_threads, prefetch_batches): (u32, u32),
) -> LoaderConfig {
    LoaderConfig {
        dataset: dataset.clone(),
        views: vec![full_view(8), full_view(6), View::infomin_d(10), View::jigsaw(28)],
        mean: vec![0.3],
        std: vec![0.4],
        seed: 7,
        global_batch: 24,
        rank,
        world_size,
        start_step: 0,
        end_step: 7,
        n_threads,
        prefetch_batches,
    }
}

fn all(config: LoaderConfig) -> Vec<Batch> {
    let mut loader = Loader::start(config).expect("starts");
    let mut batches = Vec::new();
    while let Some(batch) = loader.next().expect("no image fails") {
        batches.push(batch);
    }
    assert!(matches!(loader.next(), Ok(None)), "the end stays");
    batches
}

#[test]
fn batches_are_the_same_with_any_number_of_threads() {
    let dataset = idx_set(60, (9, 9));
    let base = all(config(&dataset, (0, 1), (1, 1)));
    assert!(base.iter().map(|batch| (batch.step, batch.epoch)).eq((0..7).map(|step| (step, step / 2))));
    for threads in [(1, 3), (2, 1), (5, 4)] {
        assert_eq!(base, all(config(&dataset, (0, 1), threads)));
    }
}

#[test]
fn ranks_together_take_what_one_rank_takes() {
    let dataset = idx_set(60, (9, 9));
    let single = all(config(&dataset, (0, 1), (1, 2)));
    let ranks: Vec<Vec<Batch>> = (0..3).map(|rank| all(config(&dataset, (rank, 3), (2, 2)))).collect();
    for (step, batch) in single.iter().enumerate() {
        let shares = || ranks.iter().map(|batches| &batches[step]);
        let ids: Vec<u64> = shares().flat_map(|share| share.sample_ids.clone()).collect();
        assert_eq!(batch.sample_ids, ids);
        for (view_idx, view) in batch.views.iter().enumerate() {
            let pixels: Vec<f32> = shares().flat_map(|share| share.views[view_idx].pixels.clone()).collect();
            assert_eq!(view.pixels, pixels);
        }
    }
}

#[test]
fn each_view_has_a_size_and_patches_of_its_own() {
    let batch = &all(config(&idx_set(60, (9, 9)), (0, 1), (1, 1)))[0];
    let shape = |view: &ViewBatch| (view.patches, view.size, view.channels);
    let shapes: Vec<_> = batch.views.iter().map(shape).collect();
    assert_eq!(shapes, [(1, 8, 1), (1, 6, 1), (1, 10, 1), (9, 8, 1)]);
    for view in &batch.views {
        assert_eq!(view.pixels.len() as u32, 24 * view.patches * view.size * view.size);
    }
}

#[test]
fn a_loader_starts_anywhere() {
    let dataset = idx_set(60, (9, 9));
    let whole = all(config(&dataset, (0, 1), (1, 2)));
    let rest = all(LoaderConfig { start_step: 3, ..config(&dataset, (0, 1), (2, 2)) });
    assert_eq!(whole[3..], rest[..]);
}

#[test]
fn recycled_buffers_change_nothing() {
    let dataset = idx_set(60, (9, 9));
    let mut loader = Loader::start(config(&dataset, (0, 1), (2, 2))).expect("starts");
    for expected in all(config(&dataset, (0, 1), (1, 2))) {
        let batch = loader.next().expect("no image fails").expect("as many batches");
        assert_eq!(batch, expected);
        loader.recycle(batch);
    }
}

#[test]
fn an_error_comes_at_its_step_and_names_the_file() {
    let root = folder(48, (6, 6));
    let broken = root.path().join("017.png");
    let bytes = std::fs::read(&broken).expect("reads");
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).expect("writes");
    let dataset = open_folder(root.path());
    let plan = Plan::new(48, 24, (0, 1), 7).expect("sizes fit");
    let bad_step =
        (2..4).find(|&step| plan.sample_ids(step).contains(&17)).expect("an epoch covers all images");
    for threads in [(1, 1), (3, 4)] {
        let mut loader = Loader::start(LoaderConfig { start_step: 2, ..config(&dataset, (0, 1), threads) })
            .expect("starts");
        for step in 2..bad_step {
            assert_eq!(loader.next().expect("this step is fine").map(|batch| batch.step), Some(step));
        }
        let error = loader.next().expect_err("the image is broken");
        assert_eq!(error.path(), Some(&*broken));
        assert!(matches!(loader.next(), Err(Error::Closed)));
    }
}

#[test]
fn the_first_of_two_errors_of_a_batch_is_given() {
    let root = folder(24, (6, 6));
    let dataset = open_folder(root.path());
    let ids = Plan::new(24, 24, (0, 1), 7).expect("sizes fit").sample_ids(0);
    for at in [1, 9, 20] {
        std::fs::write(root.path().join(dataset.name(ids[at])), b"no image").expect("writes");
    }
    for _ in 0..20 {
        let error =
            Loader::start(config(&dataset, (0, 1), (3, 1))).expect("starts").next().expect_err("broken");
        assert_eq!(error.path(), Some(&*root.path().join(dataset.name(ids[1]))));
    }
}

#[test]
fn damaged_images_are_replaced_alike_up_to_the_share_that_is_allowed() {
    let root = folder(24, (6, 6));
    let open = |max_damaged| {
        let kind = DataKind::ImageFolder { train: root.path().to_owned(), test: None, channels: 3 };
        let source =
            DataSource { kind, limit: None, subset: None, mean: vec![0.5], std: vec![0.5], max_damaged };
        Dataset::open(&source, root.path(), Split::Train).expect("opens").expect("a training set")
    };
    for name in ["003.png", "004.png"] {
        std::fs::write(root.path().join(name), b"no image").expect("writes");
    }
    let dataset = open(0.1);
    let step =
        |place, threads| all(LoaderConfig { end_step: 1, ..config(&dataset, place, threads) }).remove(0);
    let whole = step((0, 1), (1, 1));
    assert_eq!(whole, step((0, 1), (3, 2)));
    for rank in 0..2 {
        let half = step((rank, 2), (2, 1));
        let range = rank as usize * 12..(rank as usize + 1) * 12;
        assert_eq!(half.sample_ids, whole.sample_ids[range.clone()]);
        let n_values = half.views[0].pixels.len() / 12;
        assert_eq!(half.views[0].pixels, whole.views[0].pixels[range.start * n_values..range.end * n_values]);
    }
    let dataset = open(0.05);
    let mut loader = Loader::start(config(&dataset, (0, 1), (1, 1))).expect("starts");
    let error = loader.next().expect_err("two are too many").to_string();
    assert!(error.ends_with("(2 of 24 images are damaged, more than `data.max_damaged` allows)"), "{error}");
}

#[test]
fn no_more_batches_than_asked_for_are_made_ahead() {
    let queue = Queue::new(0..50, 3);
    let (n_begun, n_taken) = (AtomicU64::new(0), AtomicU64::new(0));
    let begin = |step, _: &mut Vec<ViewBatch>| {
        let ahead = n_begun.fetch_add(1, Ordering::SeqCst) + 1 - n_taken.load(Ordering::SeqCst);
        assert!(ahead <= 3, "{ahead} batches ahead");
        Draft { step, epoch: 0, sample_ids: (0..20).collect(), views: Vec::new() }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(chunk) = queue.chunk(begin) {
                    queue.finish(chunk, Ok(()));
                }
            });
        }
        for step in 0..50 {
            n_taken.fetch_add(1, Ordering::SeqCst);
            let batch = queue.take().expect("no image fails").expect("fifty batches");
            assert_eq!(batch.step, step);
        }
    });
    assert_eq!(n_begun.into_inner(), 50);
}

#[test]
fn a_panic_becomes_an_error_of_its_step() {
    let dataset = idx_set(8, (9, 9));
    // Statistics for three channels do not fit grey images: the writer refuses its buffer.
    let pipeline = Pipeline::new((0, &plain_view(8)), 3, (&[0.5], &[0.5]), 7).expect("valid");
    let plan = Plan::new(8, 8, (0, 1), 7).expect("sizes fit");
    let queue = Queue::new(5..6, 1);
    worker::run(&queue, &Recipe { dataset, plan, pipelines: vec![pipeline], damaged: Default::default() });
    let error = queue.take().expect_err("the thread panicked");
    assert!(
        matches!(&error, Error::Panicked { step: 5, message } if message.contains("buffer of its size")),
        "{error}"
    );
}

#[test]
fn a_loader_that_is_dropped_ends_its_threads() {
    let dataset = idx_set(60, (9, 9));
    let mut loader = Loader::start(LoaderConfig { end_step: u64::MAX, ..config(&dataset, (0, 1), (3, 2)) })
        .expect("starts");
    loader.next().expect("no image fails").expect("steps enough");
    let queue = Arc::downgrade(&loader.queue);
    drop(loader);
    assert!(queue.upgrade().is_none(), "a thread still holds the queue");
}

#[test]
fn an_impossible_loader_says_why() {
    let dataset = idx_set(60, (9, 9));
    let refusal = |config: LoaderConfig| Loader::start(config).expect_err("must be refused").to_string();
    let base = || config(&dataset, (0, 1), (1, 1));
    assert_eq!(
        refusal(LoaderConfig { global_batch: 61, ..base() }),
        "a global batch of 61 exceeds the 60 images"
    );
    assert_eq!(
        refusal(LoaderConfig { mean: vec![0.1, 0.2, 0.3], ..base() }),
        "3 means and 1 standard deviations for 1 channels"
    );
    assert_eq!(
        refusal(LoaderConfig { views: vec![plain_view(0)], ..base() }),
        "view 0 has a size of 0 pixels"
    );
}

#[test]
fn an_empty_range_of_steps_ends_at_once() {
    let dataset = idx_set(60, (9, 9));
    assert!(all(LoaderConfig { start_step: 7, ..config(&dataset, (0, 1), (2, 2)) }).is_empty());
}
