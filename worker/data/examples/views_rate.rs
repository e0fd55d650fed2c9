//! Prints how many views a second one thread makes of a data set.
//!
//! `cargo run --release -p kindred-data --example views_rate -- fashion FOLDER` or `… -- folder FOLDER SIZE`; both views
//! are MoCo v2's.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kindred_data::{Dataset, Error, Loader, LoaderConfig, Split};
use kindred_proto::recipe::{DataKind, DataSource, GaussianBlur, RandomResizedCrop, View};

const USAGE: &str = "views_rate fashion FOLDER | views_rate folder FOLDER SIZE";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kind, view) = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fashion", root] => (DataKind::FashionMnist { root: PathBuf::from(root) }, moco_v2(28)),
        ["folder", root, size] => (
            DataKind::ImageFolder { train: PathBuf::from(root), test: None, channels: 3 },
            moco_v2(size.parse()?),
        ),
        _ => return Err(USAGE.into()),
    };
    let source =
        DataSource { kind, limit: None, subset: None, mean: vec![0.5], std: vec![0.25], max_damaged: 0.001 };
    let dataset = Dataset::open(&source, &std::env::current_dir()?, Split::Train)?.ok_or(USAGE)?;
    let views_per_s = rate(dataset, view, Duration::from_secs(3))?;
    writeln!(std::io::stdout(), "views_per_s={views_per_s:.0}")?;
    Ok(())
}

/// Views per second of a loader with one thread, two views an image, over about `time`.
fn rate(dataset: Dataset, view: View, time: Duration) -> Result<f64, Error> {
    let mut loader = Loader::start(LoaderConfig {
        global_batch: dataset.len().min(64) as u32,
        dataset,
        views: vec![view.clone(), view],
        mean: vec![0.5],
        std: vec![0.25],
        seed: 0,
        rank: 0,
        world_size: 1,
        start_step: 0,
        end_step: u64::MAX,
        n_threads: 1,
        prefetch_batches: 2,
    })?;
    let (start, mut n_views) = (Instant::now(), 0);
    while let Some(batch) = loader.next()? {
        n_views += batch.sample_ids.len() * batch.views.len();
        loader.recycle(batch);
        if start.elapsed() >= time {
            break;
        }
    }
    Ok(n_views as f64 / start.elapsed().as_secs_f64())
}

/// MoCo v2's view, with its blur at every size.
fn moco_v2(size: u32) -> View {
    let crop = RandomResizedCrop::published(size);
    View { crop, blur: Some(GaussianBlur::published(0.5)), ..View::moco_v2(size) }
}
