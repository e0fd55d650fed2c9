//! Batches, and the plain pixels that evaluations use.

use std::panic::resume_unwind;
use std::thread;

use crate::Error;
use crate::dataset::{Dataset, DecodeScratch};
use crate::view::{Normalize, PlainScratch};

/// What one rank trains on at one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The step that this batch is for.
    pub step: u64,
    /// The epoch that the step belongs to.
    pub epoch: u64,
    /// The images, in batch order.
    pub sample_ids: Vec<u64>,
    /// One entry per view of the recipe.
    pub views: Vec<ViewBatch>,
}

/// One view of all images of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewBatch {
    /// Side in pixels.
    pub size: u32,
    /// 1 or 3.
    pub channels: u32,
    /// Shape: batch, height, width, channels; normalised.
    pub pixels: Vec<f32>,
}

/// Normalised images without augmentation: the central square of each, scaled to `size`.
///
/// Shape of the result: images, height, width, channels. An image of that size already is only normalised.
///
/// # Errors
/// An image that cannot be decoded, by its path; `mean` and `std` that do not fit.
///
/// # Panics
/// When an id is not in the data set.
pub fn plain_batch(
    dataset: &Dataset,
    ids: &[u64],
    size: u32,
    mean: &[f64],
    std: &[f64],
    n_threads: u32,
) -> Result<Vec<f32>, Error> {
    let normalize = Normalize::new(dataset.channels(), mean, std)?;
    let n_values = size as usize * size as usize * dataset.channels() as usize;
    let mut pixels = vec![0.0; ids.len() * n_values];
    let share = ids.len().div_ceil(n_threads.max(1) as usize).max(1);
    let fill = |ids: &[u64], pixels: &mut [f32]| -> Result<(), Error> {
        let mut scratch = PlainScratch::default();
        for (&id, output) in ids.iter().zip(pixels.chunks_exact_mut(n_values)) {
            scratch.write(dataset, id, (size, &normalize), output)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let shares = ids.chunks(share).zip(pixels.chunks_mut(share * n_values));
        let threads: Vec<_> = shares.map(|(ids, pixels)| scope.spawn(move || fill(ids, pixels))).collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        results.into_iter().try_for_each(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    Ok(pixels)
}

/// Images as they are, flat, with values in [0, 1]: all must have one size.
///
/// # Errors
/// An image that cannot be decoded, or that has another size than the first, by its name.
///
/// # Panics
/// When an id is not in the data set.
pub fn raw_pixels(dataset: &Dataset, ids: &[u64]) -> Result<Vec<f32>, Error> {
    let mut scratch = DecodeScratch::default();
    let mut pixels = Vec::new();
    let mut first = None;
    for &id in ids {
        let image = dataset.pixels(id, &mut scratch)?;
        let size = (image.width, image.height);
        let (width, height) = *first.get_or_insert(size);
        if size != (width, height) {
            let message = format!("{} is {}x{}, others {width}x{height}", dataset.name(id), size.0, size.1);
            return Err(Error::Config(message));
        }
        pixels.extend(image.bytes.iter().map(|&byte| f32::from(byte) / 255.0));
    }
    Ok(pixels)
}
