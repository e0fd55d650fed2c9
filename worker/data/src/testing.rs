//! Small data for this crate's tests.

use std::path::Path;

use kindred_proto::recipe::{
    ColorJitter, DataKind, DataSource, GaussianBlur, RandomResizedCrop, Solarize, View,
};
use tempfile::TempDir;

use crate::{Dataset, Split};

/// Bytes without a pattern.
pub(crate) fn noise(n_bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..n_bytes).map(|_| next()).collect()
}

/// A grey IDX data set of `n_images` random images.
pub(crate) fn idx_set(n_images: u32, (width, height): (u32, u32)) -> Dataset {
    let root = tempfile::tempdir().expect("a temporary folder");
    let header =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let images = [header(&[0x0803, n_images, height, width]), noise((n_images * width * height) as usize, 1)];
    let labels = [header(&[0x0801, n_images]), (0..n_images).map(|idx| (idx % 10) as u8).collect()];
    std::fs::write(root.path().join("train-images-idx3-ubyte"), images.concat()).expect("writes");
    std::fs::write(root.path().join("train-labels-idx1-ubyte"), labels.concat()).expect("writes");
    let kind = DataKind::FashionMnist { root: root.path().to_owned() };
    open(kind, Split::Train).expect("a training set is always there")
}

/// A folder of random RGB images of one size, called `000.png` and so on.
pub(crate) fn folder(n_images: u32, size: (u32, u32)) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    for idx in 0..n_images {
        write_png(&root.path().join(format!("{idx:03}.png")), size, idx.into());
    }
    root
}

/// Writes a random RGB image.
pub(crate) fn write_png(path: &Path, (width, height): (u32, u32), seed: u64) {
    let file = std::fs::File::create(path).expect("creates");
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("writes");
    writer.write_image_data(&noise((width * height * 3) as usize, seed)).expect("writes");
}

/// Opens a data set whose paths are absolute.
pub(crate) fn open(kind: DataKind, split: Split) -> Option<Dataset> {
    let source =
        DataSource { kind, limit: None, subset: None, mean: vec![0.5], std: vec![0.5], max_damaged: 0.001 };
    Dataset::open(&source, Path::new("/"), split).expect("opens")
}

/// Opens a folder as training set of RGB images.
pub(crate) fn open_folder(root: &Path) -> Dataset {
    let kind = DataKind::ImageFolder { train: root.to_owned(), test: None, channels: 3 };
    open(kind, Split::Train).expect("a training set is always there")
}

/// A view that cuts nothing off and changes nothing.
pub(crate) fn plain_view(size: u32) -> View {
    View {
        crop: RandomResizedCrop { size, scale_min: 1.0, scale_max: 1.0, ratio_min: 1.0, ratio_max: 1.0 },
        horizontal_flip_probability: 0.0,
        ..View::weak(size)
    }
}

/// A view with every operation that has a place of its own, each with a probability between none and all.
pub(crate) fn full_view(size: u32) -> View {
    View {
        color_jitter: Some(ColorJitter::PUBLISHED),
        grayscale_probability: 0.2,
        blur: Some(GaussianBlur::published(0.5)),
        solarize: Some(Solarize::PUBLISHED),
        ..View::weak(size)
    }
}
