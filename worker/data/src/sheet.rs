//! A contact sheet: what the network sees of a few images, as one picture for people.

use kindred_proto::recipe::{ColorSpace, Recipe, Statistics, View};

use crate::dataset::Dataset;
use crate::view::{Normalize, PlainScratch, ViewScratch};
use crate::{Error, Order, Pipeline};

/// Pixels between two images.
const GAP: usize = 2;
/// Columns are scaled up by whole numbers until the widest has so many pixels.
const LEAST_WIDTH: usize = 96;
const BACKGROUND: u8 = 32;

/// Draws the first `n_images` that a training sees, a row each: the image, then its views; as a PNG file.
///
/// Views are as the first epoch makes them, before they are normalised or change their colour space; of a jigsaw, the
/// patches as they lie in the image.
///
/// # Errors
/// An image that cannot be decoded, by its path; statistics that do not fit.
pub fn contact_sheet(dataset: &Dataset, recipe: &Recipe, n_images: u32) -> Result<Vec<u8>, Error> {
    let (seed, channels) = (recipe.training.seed, dataset.channels());
    let views: Vec<View> = recipe.views.iter().map(shown).collect();
    let statistics = (&recipe.data.mean[..], &recipe.data.std[..]);
    let pipelines: Vec<Pipeline> = (0..)
        .zip(&views)
        .map(|view| Pipeline::new(view, channels, statistics, seed))
        .collect::<Result<_, _>>()?;
    let side = views.iter().map(|view| view.crop.size).max().unwrap_or(LEAST_WIDTH as u32);
    let order = Order::new(dataset.len(), seed, 0);
    let mut rows = Vec::new();
    let mut scratch = ViewScratch::default();
    for position in 0..dataset.len().min(n_images.into()) {
        let sample = order.at(position);
        let mut row = vec![original(dataset, sample, side)?];
        for pipeline in &pipelines {
            let mut pixels = vec![0.0; pipeline.n_values()];
            pipeline.run(dataset, (0, sample), &mut scratch, &mut pixels)?;
            row.push(Tile::of_patches(&pixels, pipeline, channels as usize));
        }
        rows.push(row);
    }
    Ok(Sheet::of(&rows).png())
}

/// The view with values in [0, 1].
fn shown(view: &View) -> View {
    let plain = Statistics { mean: vec![0.0], std: vec![1.0] };
    View { color_space: ColorSpace::Rgb, statistics: Some(plain), ..view.clone() }
}

fn original(dataset: &Dataset, sample: u64, side: u32) -> Result<Tile, Error> {
    let channels = dataset.channels();
    let mut pixels = vec![0.0; (side * side * channels) as usize];
    let plain = Normalize::new(channels, &[0.0], &[1.0])?;
    PlainScratch::default().write(dataset, sample, (side, ColorSpace::Rgb, &plain), &mut pixels)?;
    let mut tile = Tile::new(side as usize);
    tile.paint((0, 0), &pixels, (side as usize, channels as usize));
    Ok(tile)
}

/// A square of RGB pixels.
struct Tile {
    side: usize,
    pixels: Vec<[u8; 3]>,
}

impl Tile {
    fn new(side: usize) -> Tile {
        Tile { side, pixels: vec![[BACKGROUND; 3]; side * side] }
    }

    /// The one patch of a view, or the patches of a jigsaw with a gap between them.
    fn of_patches(pixels: &[f32], pipeline: &Pipeline, channels: usize) -> Tile {
        let (size, grid) = (pipeline.size() as usize, pipeline.n_patches().isqrt() as usize);
        let mut tile = Tile::new(grid * (size + 1) - 1);
        for (at, patch) in pixels.chunks_exact(size * size * channels).enumerate() {
            tile.paint((at / grid * (size + 1), at % grid * (size + 1)), patch, (size, channels));
        }
        tile
    }

    /// Paints square rows of pixels of channels in [0, 1].
    fn paint(&mut self, (top, left): (usize, usize), pixels: &[f32], (size, channels): (usize, usize)) {
        for (at, pixel) in pixels.chunks_exact(channels).enumerate() {
            let place = (top + at / size) * self.side + left + at % size;
            self.pixels[place] =
                [0, 1, 2].map(|channel| (pixel[channel.min(channels - 1)] * 255.0).round() as u8);
        }
    }
}

/// The whole picture.
struct Sheet {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Sheet {
    /// Lays rows of tiles out in columns; each column is as wide as its tiles.
    fn of(rows: &[Vec<Tile>]) -> Sheet {
        let Some(first) = rows.first() else { return Sheet { width: 0, height: 0, pixels: Vec::new() } };
        let widest = first.iter().map(|tile| tile.side).max().unwrap_or(1);
        let zoom = (LEAST_WIDTH / widest).max(1);
        let width = first.iter().map(|tile| zoom * tile.side + GAP).sum::<usize>() + GAP;
        let height = rows.len() * (zoom * widest + GAP) + GAP;
        let mut sheet = Sheet { width, height, pixels: vec![[BACKGROUND; 3]; width * height] };
        for (idx, row) in rows.iter().enumerate() {
            let top = GAP + idx * (zoom * widest + GAP);
            let mut left = GAP;
            for tile in row {
                sheet.paint((top, left), tile, zoom);
                left += zoom * tile.side + GAP;
            }
        }
        sheet
    }

    fn paint(&mut self, (top, left): (usize, usize), tile: &Tile, zoom: usize) {
        for y in 0..zoom * tile.side {
            for x in 0..zoom * tile.side {
                let pixel = tile.pixels[y / zoom * tile.side + x / zoom];
                self.pixels[(top + y) * self.width + left + x] = pixel;
            }
        }
    }

    fn png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().expect("a data set has an image, so no side is 0");
        writer.write_image_data(self.pixels.as_flattened()).expect("as many values as the header says");
        writer.finish().expect("memory takes all");
        file
    }
}

#[cfg(test)]
mod tests;
