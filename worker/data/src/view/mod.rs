//! Views: what an image is turned into before the network sees it.
//!
//! One [`Pipeline`] per view of the recipe, with the operations in the order of its fields: crop, jitter, grey, blur,
//! solarize, RandAugment, flip, jigsaw, colour space, normalise. Values are f32 in [0, 1], in planes, until the last step
//! writes them as pixels of channels. Each operation draws from a stream of its own, so that switching one on or off
//! changes no other.
//!
//! The flip runs when pixels are written. Published codes flip right after the crop, which comes to the same: no operation
//! in between knows left from right, or its sign is drawn evenly.
//!
//! On grey images saturation, hue and grayscale do nothing, by definition.

use kindred_proto::recipe::{ColorSpace, Jigsaw, View};

use crate::Error;
use crate::dataset::{Dataset, DecodeScratch, Pixels};
use crate::philox::{Domain, Key, Stream};

mod affine;
mod blur;
mod bytes;
mod color;
mod crop;
mod lanes;
mod output;
mod rand_augment;
mod resize;
mod space;
mod taps;
mod weigh;

use blur::BlurScratch;
use bytes::Bytes;
use color::ColorOps;
pub(crate) use crop::Window;
pub(crate) use output::Normalize;
pub(crate) use resize::Resizer;
pub use space::from_rgb;

/// The operations of one view, ready to run.
#[derive(Clone, Debug)]
pub struct Pipeline {
    view: View,
    view_idx: u32,
    seed: u64,
    normalize: Normalize,
    /// The data's, one value per channel.
    mean: Vec<f64>,
}

/// Buffers that views reuse: one per thread.
#[derive(Debug, Default)]
pub struct ViewScratch {
    pub(crate) decode: DecodeScratch,
    pub(crate) work: Work,
}

/// The buffers of everything after decoding.
#[derive(Debug, Default)]
pub(crate) struct Work {
    resizer: Resizer,
    blur: BlurScratch,
    bytes: Bytes,
    planes: Vec<f32>,
    mirrored: bool,
    /// What of the planes is written.
    patches: Vec<Window>,
}

/// The operations that draw random numbers; the numbers name their streams and must stay.
#[derive(Clone, Copy, Debug)]
enum Op {
    Crop = 0,
    Jitter = 1,
    Grayscale = 2,
    Blur = 3,
    Solarize = 4,
    Flip = 5,
    RandAugment = 6,
    Jigsaw = 7,
}

/// Names the random numbers of one view of one sample.
#[derive(Clone, Copy, Debug)]
struct Draws {
    key: Key,
    sample: u64,
    view_idx: u32,
}

impl Draws {
    fn stream(self, op: Op) -> Stream {
        Stream::new(self.key, self.sample, self.view_idx << 8 | op as u32)
    }
}

impl Pipeline {
    /// Prepares view number `view_idx` of a job for images with as many channels as `mean` and `std` have values.
    ///
    /// # Errors
    /// [`Error::Config`] when `mean` and `std` do not fit `channels`.
    pub fn new(
        (view_idx, view): (u32, &View),
        channels: u32,
        (mean, std): (&[f64], &[f64]),
        seed: u64,
    ) -> Result<Pipeline, Error> {
        if view.crop.size == 0 {
            return Err(Error::Config(format!("view {view_idx} has a size of 0 pixels")));
        }
        if channels == 1 && view.color_space != ColorSpace::Rgb {
            return Err(Error::Config(format!(
                "view {view_idx} has a colour space, and the images are grey"
            )));
        }
        let normalize = match &view.statistics {
            Some(own) => Normalize::new(channels, &own.mean, &own.std)?,
            None => Normalize::new(channels, mean, std)?,
        };
        let mean = mean.iter().copied().cycle().take(channels as usize).collect();
        Ok(Pipeline { view: view.clone(), view_idx, seed, normalize, mean })
    }

    /// Side of the output in pixels; of a patch, where the view is a jigsaw.
    pub fn size(&self) -> u32 {
        self.view.output_size()
    }

    /// Patches that one view consists of; 1 where it is no jigsaw.
    pub fn n_patches(&self) -> u32 {
        self.view.n_patches()
    }

    /// Values of one view: patches, height, width, channels.
    pub fn n_values(&self) -> usize {
        self.n_patches() as usize * self.n_patch_values()
    }

    fn n_patch_values(&self) -> usize {
        self.size() as usize * self.size() as usize * self.normalize.channels()
    }

    /// Makes this view of image `sample` in `epoch`, normalised, as rows of pixels of channels.
    ///
    /// # Errors
    /// An image that cannot be decoded, by its path.
    ///
    /// # Panics
    /// When `output` has not [`Pipeline::n_values`] values, or `sample` is not in the data set.
    pub fn run(
        &self,
        dataset: &Dataset,
        (epoch, sample): (u64, u64),
        scratch: &mut ViewScratch,
        output: &mut [f32],
    ) -> Result<(), Error> {
        let image = dataset.pixels(sample, &mut scratch.decode)?;
        self.prepare(image, (epoch, sample), &mut scratch.work);
        self.write(&scratch.work, output);
        Ok(())
    }

    /// Runs all operations but the last; [`Pipeline::write`] follows.
    pub(crate) fn prepare(&self, image: Pixels<'_>, (epoch, sample): (u64, u64), work: &mut Work) {
        let key = Key::of_epoch(self.seed, epoch, Domain::Views);
        let draws = Draws { key, sample, view_idx: self.view_idx };
        let (view, size, channels) = (&self.view, self.view.crop.size, image.channels as usize);
        let window = crop::draw(&view.crop, (image.width, image.height), &mut draws.stream(Op::Crop));
        work.resizer.resize(image, window, size, &mut work.planes);
        self.change_colors(draws, channels, work);
        work.mirrored = draws.stream(Op::Flip).chance(view.horizontal_flip_probability);
        work.patches.clear();
        match &view.jigsaw {
            Some(jigsaw) => draw_patches(jigsaw, size, draws, work),
            None => work.patches.push(Window::whole(size)),
        }
        space::change(&mut work.planes, view.color_space);
    }

    /// Runs all that keeps the image's place, in RGB or grey.
    fn change_colors(&self, draws: Draws, channels: usize, work: &mut Work) {
        let (view, size) = (&self.view, self.view.crop.size as usize);
        let ops = ColorOps::draw(view, channels, draws);
        ops.run(&mut work.planes, channels);
        if let Some(sigma) = view.blur.as_ref().and_then(|blur| blur::draw(blur, &mut draws.stream(Op::Blur)))
        {
            let (first, others) = work.planes.split_at_mut(size * size);
            blur::blur(first, size, sigma, &mut work.blur);
            match ops.end_in_grey() {
                true => others.chunks_exact_mut(size * size).for_each(|plane| plane.copy_from_slice(first)),
                false => blur::blur(others, size, sigma, &mut work.blur),
            }
        }
        if let Some(solarize) = &view.solarize
            && draws.stream(Op::Solarize).chance(solarize.probability)
        {
            color::solarize(&mut work.planes, solarize.threshold as f32);
        }
        if let Some(recipe) = &view.rand_augment {
            let stream = &mut draws.stream(Op::RandAugment);
            rand_augment::run(recipe, stream, (&mut work.planes, size), &self.mean, &mut work.bytes);
            ColorOps::draw_late(view, channels, draws).run(&mut work.planes, channels);
        }
    }

    /// Writes what was prepared, mirrored if so drawn, and normalised.
    pub(crate) fn write(&self, work: &Work, output: &mut [f32]) {
        assert_eq!(output.len(), self.n_values(), "a view is written to a buffer of its size");
        let planes = (&work.planes[..], self.view.crop.size as usize);
        for (window, output) in work.patches.iter().zip(output.chunks_exact_mut(self.n_patch_values())) {
            self.normalize.write(planes, *window, work.mirrored, output);
        }
    }
}

/// Draws a patch of each cell, row by row, as they lie in the image that may be mirrored.
fn draw_patches(jigsaw: &Jigsaw, size: u32, draws: Draws, work: &mut Work) {
    let (cell_size, side) = (size / jigsaw.grid, jigsaw.patch_size);
    let mut stream = draws.stream(Op::Jigsaw);
    for row in 0..jigsaw.grid {
        for column in 0..jigsaw.grid {
            let top = row * cell_size + stream.below(cell_size - side + 1);
            let left = column * cell_size + stream.below(cell_size - side + 1);
            let left = if work.mirrored { size - left - side } else { left };
            work.patches.push(Window { left, top, width: side, height: side });
        }
    }
}

/// Buffers of images without augmentation.
#[derive(Debug, Default)]
pub(crate) struct PlainScratch(ViewScratch);

impl PlainScratch {
    /// Writes the central square of an image, scaled to `size`, in a colour space and normalised.
    pub(crate) fn write(
        &mut self,
        dataset: &Dataset,
        id: u64,
        (size, space, normalize): (u32, ColorSpace, &Normalize),
        output: &mut [f32],
    ) -> Result<(), Error> {
        let ViewScratch { decode, work } = &mut self.0;
        let image = dataset.pixels(id, decode)?;
        let window = Window::central_square(image.width, image.height);
        work.resizer.resize(image, window, size, &mut work.planes);
        space::change(&mut work.planes, space);
        normalize.write((&work.planes, size as usize), Window::whole(size), false, output);
        Ok(())
    }
}

#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;
