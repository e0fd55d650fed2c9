//! Batches, and the plain pixels that evaluations use.

use std::panic::resume_unwind;
use std::thread;

use kindred_proto::recipe::ColorSpace;

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
    /// Patches of an image, one after another; 1 where the view is no jigsaw.
    pub patches: u32,
    /// Shape: batch, patches, height, width, channels; normalised.
    pub pixels: Vec<f32>,
}

/// Normalised images without augmentation: the central square of each, scaled to `size`, in a colour space.
///
/// Shape of the result: images, height, width, channels. An image of that size already is only normalised.
///
/// # Errors
/// An image that cannot be decoded, by its path; `mean` and `std` that do not fit.
///
/// # Panics
/// When an id is not in the data set, or grey images are to have a colour space.
pub fn plain_batch(
    dataset: &Dataset,
    ids: &[u64],
    (size, space): (u32, ColorSpace),
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
            scratch.write(dataset, id, (size, space, &normalize), output)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{folder, idx_set, open_folder, write_png};
    use crate::view::from_rgb;

    #[test]
    fn a_plain_batch_of_the_right_size_is_only_normalised() {
        let dataset = idx_set(5, (4, 4));
        let ids = [3, 0, 3];
        let expected: Vec<f32> =
            raw_pixels(&dataset, &ids).expect("decodes").iter().map(|x| (x - 0.5) / 0.25).collect();
        let found = plain_batch(&dataset, &ids, (4, ColorSpace::Rgb), &[0.5], &[0.25], 1).expect("decodes");
        assert!(found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-6));
        assert_eq!(found.len(), 3 * 16);
    }

    #[test]
    fn a_plain_batch_can_have_a_colour_space() {
        let root = folder(1, (4, 4));
        let dataset = open_folder(root.path());
        let rgb = raw_pixels(&dataset, &[0]).expect("decodes");
        let plain = (4, ColorSpace::YDbDr);
        let found = plain_batch(&dataset, &[0], plain, &[0.0], &[1.0], 1).expect("decodes");
        for (rgb, found) in rgb.chunks_exact(3).zip(found.chunks_exact(3)) {
            let expected = from_rgb(ColorSpace::YDbDr, [0, 1, 2].map(|channel| f64::from(rgb[channel])));
            assert!((0..3).all(|at| (f64::from(found[at]) - expected[at]).abs() < 1e-5), "{found:?}");
        }
    }

    #[test]
    fn a_plain_batch_is_the_central_square_scaled() {
        let root = folder(1, (8, 4));
        let dataset = open_folder(root.path());
        let image = dataset.image(0).expect("decodes");
        let found = plain_batch(&dataset, &[0], (2, ColorSpace::Rgb), &[0.0], &[1.0], 1).expect("decodes");
        // Halving 4 x 4 pixels: a triangle over columns -1 to 2 of each half, of which the border's half is cut.
        let weights =
            [[3.0, 3.0, 1.0, 0.0], [0.0, 1.0, 3.0, 3.0]].map(|row: [f64; 4]| row.map(|weight| weight / 7.0));
        for (at, value) in found.iter().enumerate() {
            let (y, x, channel) = (at / 6, at / 3 % 2, at % 3);
            let mut expected = 0.0;
            for (dy, row) in weights[y].iter().enumerate() {
                for (dx, column) in weights[x].iter().enumerate() {
                    expected +=
                        row * column * f64::from(image.pixels[(dy * 8 + dx + 2) * 3 + channel]) / 255.0;
                }
            }
            assert!((f64::from(*value) - expected).abs() < 1e-5, "value {at}: {value} for {expected}");
        }
    }

    #[test]
    fn threads_change_nothing() {
        let dataset = idx_set(7, (6, 5));
        let ids: Vec<u64> = (0..7).collect();
        let plain = |n_threads| {
            plain_batch(&dataset, &ids, (3, ColorSpace::Rgb), &[0.4], &[0.3], n_threads).expect("decodes")
        };
        assert_eq!(plain(1), plain(3));
        assert_eq!(plain(1), plain(20));
        assert!(
            plain_batch(&dataset, &[], (3, ColorSpace::Rgb), &[0.4], &[0.3], 2)
                .expect("nothing to decode")
                .is_empty()
        );
    }

    #[test]
    fn raw_pixels_need_one_size() {
        let root = folder(2, (3, 3));
        write_png(&root.path().join("001.png"), (3, 2), 0);
        let dataset = open_folder(root.path());
        assert_eq!(raw_pixels(&dataset, &[0]).expect("decodes").len(), 27);
        let error = raw_pixels(&dataset, &[0, 1]).expect_err("two sizes").to_string();
        assert_eq!(error, "001.png is 3x2, others 3x3");
    }
}
