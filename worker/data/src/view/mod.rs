//! Views: what an image is turned into before the network sees it.
//!
//! One [`Pipeline`] per view of the recipe, with the operations in the order of its fields: crop, jitter, grey, blur,
//! solarize, flip, normalise. Values are f32 in [0, 1], in planes, until the last step writes them as pixels of channels.
//! Each operation draws from a stream of its own, so that switching one on or off changes no other.
//!
//! On grey images saturation, hue and grayscale do nothing, by definition.

use kindred_proto::recipe::View;

use crate::Error;
use crate::dataset::{Dataset, DecodeScratch, Pixels};
use crate::philox::{Domain, Key, Stream};

mod blur;
mod color;
mod crop;
mod output;
mod resize;
mod weigh;

use blur::BlurScratch;
use color::ColorOps;
use crop::Window;
pub(crate) use output::Normalize;
use resize::Resizer;

/// The operations of one view, ready to run.
#[derive(Clone, Debug)]
pub struct Pipeline {
    view: View,
    view_idx: u32,
    seed: u64,
    normalize: Normalize,
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
    planes: Vec<f32>,
    mirrored: bool,
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
        Ok(Pipeline { view: view.clone(), view_idx, seed, normalize: Normalize::new(channels, mean, std)? })
    }

    /// Side of the output in pixels.
    pub fn size(&self) -> u32 {
        self.view.crop.size
    }

    /// Values of one view: height, width, channels.
    pub fn n_values(&self) -> usize {
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
        let (view, size, channels) = (&self.view, self.size(), image.channels as usize);
        let window = crop::draw(&view.crop, (image.width, image.height), &mut draws.stream(Op::Crop));
        work.resizer.resize(image, window, size, &mut work.planes);
        ColorOps::draw(view, channels, draws).run(&mut work.planes, channels);
        if let Some(sigma) = view.blur.as_ref().and_then(|blur| blur::draw(blur, &mut draws.stream(Op::Blur)))
        {
            blur::blur(&mut work.planes, size as usize, sigma, &mut work.blur);
        }
        if let Some(solarize) = &view.solarize
            && draws.stream(Op::Solarize).chance(solarize.probability)
        {
            color::solarize(&mut work.planes, solarize.threshold as f32);
        }
        work.mirrored = draws.stream(Op::Flip).chance(view.horizontal_flip_probability);
    }

    /// Writes what was prepared, mirrored if so drawn, and normalised.
    pub(crate) fn write(&self, work: &Work, output: &mut [f32]) {
        self.normalize.write(&work.planes, self.size() as usize, work.mirrored, output);
    }
}

/// Buffers of images without augmentation.
#[derive(Debug, Default)]
pub(crate) struct PlainScratch(ViewScratch);

impl PlainScratch {
    /// Writes the central square of an image, scaled to `size` and normalised.
    pub(crate) fn write(
        &mut self,
        dataset: &Dataset,
        id: u64,
        (size, normalize): (u32, &Normalize),
        output: &mut [f32],
    ) -> Result<(), Error> {
        let ViewScratch { decode, work } = &mut self.0;
        let image = dataset.pixels(id, decode)?;
        let window = Window::central_square(image.width, image.height);
        work.resizer.resize(image, window, size, &mut work.planes);
        normalize.write(&work.planes, size as usize, false, output);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
