//! The loader as a persistent process, for `make bench-data`: both views are MoCo v2's, one thread makes them.
//!
//! `bench_data FOLDER SIZE` prints `ready N` with the number of images in the folder, then answers each line `run N` once it
//! has made so many images (in whole batches of 8) with `N SECONDS CHECK`.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use kindred_data::{Dataset, Error, Loader, LoaderConfig, Split};
use kindred_proto::recipe::{DataKind, DataSource, GaussianBlur, RandomResizedCrop, View};

const USAGE: &str = "bench_data FOLDER SIZE";
/// Images that are made at a time: few, since the other side does not put its images together into a batch.
const BATCH: u32 = 8;
/// ImageNet's.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const STD: [f64; 3] = [0.229, 0.224, 0.225];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (folder, size) = arguments.next().zip(arguments.next()).ok_or(USAGE)?;
    let kind = DataKind::ImageFolder { train: PathBuf::from(folder), test: None, channels: 3 };
    let source = DataSource {
        kind,
        limit: None,
        subset: None,
        mean: MEAN.to_vec(),
        std: STD.to_vec(),
        max_damaged: 0.001,
    };
    let dataset = Dataset::open(&source, &std::env::current_dir()?, Split::Train)?.ok_or(USAGE)?;
    let n_images = dataset.len();
    let mut loader = start(dataset, moco_v2(size.parse()?))?;
    make(&mut loader, 4 * BATCH)?;
    let mut output = std::io::stdout();
    writeln!(output, "ready {n_images}")?;
    for line in std::io::stdin().lock().lines() {
        let n_asked: u32 = line?.strip_prefix("run ").ok_or(USAGE)?.parse()?;
        let start = Instant::now();
        let check = make(&mut loader, n_asked)?;
        let n_made = n_asked.next_multiple_of(BATCH);
        writeln!(output, "{n_made} {:.6} {check:.4}", start.elapsed().as_secs_f64())?;
    }
    Ok(())
}

/// Takes so many images; gives a sum of some of their values.
fn make(loader: &mut Loader, n_images: u32) -> Result<f32, Error> {
    let mut sum = 0.0;
    for _ in 0..n_images.div_ceil(BATCH) {
        let Some(batch) = loader.next()? else { break };
        sum += batch.views.iter().map(|view| view.pixels[1000]).sum::<f32>();
        loader.recycle(batch);
    }
    Ok(sum)
}

fn start(dataset: Dataset, view: View) -> Result<Loader, Error> {
    Loader::start(LoaderConfig {
        dataset,
        views: vec![view.clone(), view],
        mean: MEAN.to_vec(),
        std: STD.to_vec(),
        seed: 0,
        global_batch: BATCH,
        rank: 0,
        world_size: 1,
        start_step: 0,
        end_step: u64::MAX,
        n_threads: 1,
        prefetch_batches: 1,
    })
}

/// MoCo v2's view, with its blur at every size.
fn moco_v2(size: u32) -> View {
    let crop = RandomResizedCrop::published(size);
    View { crop, blur: Some(GaussianBlur::published(0.5)), ..View::moco_v2(size) }
}
