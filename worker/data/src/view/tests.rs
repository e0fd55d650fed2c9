use kindred_proto::recipe::{
    ColorJitter, ColorSpace, GaussianBlur, ImageOp, Jigsaw, Level, RandAugment, RandAugmentOp,
    RandomResizedCrop, Solarize, Statistics, View,
};

use super::{Pipeline, Work, from_rgb};
use crate::dataset::Pixels;
use crate::testing::{full_view, noise, plain_view};

const SIZE: u32 = 12;

/// Makes view `view_idx` of `sample` in `epoch` from a random image, without normalising.
fn run(view: &View, channels: u32, (seed, epoch, sample, view_idx): (u64, u64, u64, u32)) -> Vec<f32> {
    let bytes = noise((SIZE * SIZE * channels) as usize, 5);
    let image = Pixels { width: SIZE, height: SIZE, channels, bytes: &bytes };
    let pipeline = Pipeline::new((view_idx, view), channels, (&[0.0], &[1.0]), seed).expect("a valid view");
    let mut work = Work::default();
    let mut output = vec![0.0; pipeline.n_values()];
    pipeline.prepare(image, (epoch, sample), &mut work);
    pipeline.write(&work, &mut output);
    output
}

/// The random image itself, as pixels in [0, 1].
fn source(channels: u32) -> Vec<f32> {
    noise((SIZE * SIZE * channels) as usize, 5)
        .into_iter()
        .map(|byte| f32::from(byte) * (1.0 / 255.0))
        .collect()
}

#[test]
fn a_view_is_a_function_of_seed_epoch_sample_and_view() {
    let base = (1, 2, 3, 0);
    let view = full_view(8);
    let made = |name| run(&view, 3, name);
    assert_eq!(made(base), made(base));
    for other in [(9, 2, 3, 0), (1, 9, 3, 0), (1, 2, 9, 0), (1, 2, 3, 1)] {
        assert_ne!(made(base), made(other), "{other:?}");
    }
}

#[test]
fn a_plain_view_is_the_image() {
    assert_eq!(run(&plain_view(SIZE), 3, (1, 2, 3, 0)), source(3));
    assert_eq!(run(&plain_view(SIZE), 1, (1, 2, 3, 0)), source(1));
}

#[test]
fn an_operation_that_changes_nothing_shifts_no_other() {
    let off = View { blur: None, solarize: None, ..full_view(8) };
    let idle = View {
        // So narrow that the kernel's middle holds all its mass.
        blur: Some(GaussianBlur { probability: 1.0, sigma_min: 1e-3, sigma_max: 2e-3 }),
        solarize: Some(Solarize { probability: 1.0, threshold: 2.0 }),
        ..off.clone()
    };
    for sample in 0..50 {
        assert_eq!(run(&off, 3, (1, 2, sample, 0)), run(&idle, 3, (1, 2, sample, 0)));
    }
}

#[test]
fn jitter_and_grayscale_leave_the_window_alone() {
    let plain = View { crop: full_view(8).crop, ..plain_view(8) };
    let idle = ColorJitter { probability: 1.0, brightness: 1e-9, contrast: 0.0, saturation: 0.0, hue: 0.0 };
    let jittered = View { color_jitter: Some(idle), grayscale_probability: 1.0, ..plain.clone() };
    for sample in 0..50 {
        let (plain, jittered) = (run(&plain, 1, (1, 2, sample, 0)), run(&jittered, 1, (1, 2, sample, 0)));
        let far = plain.iter().zip(&jittered).find(|(a, b)| (*a - *b).abs() > 1e-6);
        assert_eq!(far, None);
    }
}

#[test]
fn a_mirrored_view_is_the_mirror_image() {
    let mirrored = run(&View { horizontal_flip_probability: 1.0, ..plain_view(SIZE) }, 3, (1, 2, 3, 0));
    let (size, source) = (SIZE as usize, source(3));
    for y in 0..size {
        for x in 0..size {
            let (here, there) = ((y * size + x) * 3, (y * size + size - 1 - x) * 3);
            assert_eq!(mirrored[here..here + 3], source[there..there + 3]);
        }
    }
}

#[test]
fn probabilities_are_frequencies() {
    let often = |view: &View| {
        let base = run(&plain_view(SIZE), 3, (1, 2, 0, 0));
        (0..2000).filter(|&sample| run(view, 3, (1, 2, sample, 0)) != base).count()
    };
    let cases = [
        View { horizontal_flip_probability: 0.5, ..plain_view(SIZE) },
        View { grayscale_probability: 0.2, ..plain_view(SIZE) },
        View {
            blur: Some(GaussianBlur { probability: 0.5, sigma_min: 0.5, sigma_max: 2.0 }),
            ..plain_view(SIZE)
        },
        View { solarize: Some(Solarize { probability: 0.2, threshold: 0.5 }), ..plain_view(SIZE) },
    ];
    for (view, expected) in cases.iter().zip([1000, 400, 1000, 400]) {
        let n = often(view);
        assert!(n.abs_diff(expected) < 90, "{n} of 2000, {expected} expected: {view:?}");
    }
}

#[test]
fn operations_run_in_the_order_of_the_recipe() {
    let view = View {
        crop: RandomResizedCrop { ratio_min: 1.0, ratio_max: 1.0, ..plain_view(SIZE).crop },
        grayscale_probability: 1.0,
        blur: Some(GaussianBlur { probability: 1.0, sigma_min: 0.8, sigma_max: 0.8 }),
        solarize: Some(Solarize { probability: 1.0, threshold: 0.5 }),
        horizontal_flip_probability: 1.0,
        ..plain_view(SIZE)
    };
    let size = SIZE as i64;
    let source = source(3);
    let luma = |y: i64, x: i64| {
        let mirror = |at: i64| if at < 0 { -at } else { at.min(2 * (size - 1) - at) };
        let at = ((mirror(y) * size + mirror(x)) * 3) as usize;
        0.299 * f64::from(source[at]) + 0.587 * f64::from(source[at + 1]) + 0.114 * f64::from(source[at + 2])
    };
    let weight = |distance: i64| (-(distance * distance) as f64 / (2.0 * 0.8 * 0.8)).exp();
    let norm: f64 = (-3..=3).map(weight).sum();
    for (at, found) in run(&view, 3, (1, 2, 3, 0)).chunks(3).enumerate() {
        let (y, x) = (at as i64 / size, size - 1 - at as i64 % size);
        let mut blurred = 0.0;
        for dy in -3..=3 {
            for dx in -3..=3 {
                blurred += weight(dy) * weight(dx) * luma(y + dy, x + dx) / (norm * norm);
            }
        }
        let expected = if blurred >= 0.5 { 1.0 - blurred } else { blurred };
        for value in found {
            assert!((f64::from(*value) - expected).abs() < 1e-5, "pixel {at}: {value} for {expected}");
        }
    }
}

/// RandAugment with one operation that always runs.
fn always(op: ImageOp, argument: f64, before_grayscale: bool) -> Option<RandAugment> {
    Some(RandAugment {
        n_ops: 1,
        probability: 1.0,
        level: Level::Uniform { min: 10, max: 10 },
        ops: vec![RandAugmentOp { op, from: argument, to: argument }],
        before_grayscale,
        ..RandAugment::clsa()
    })
}

#[test]
fn rand_augment_shifts_no_other_operation() {
    let off = View::moco_v2(8);
    let idle = View { rand_augment: always(ImageOp::Identity, 0.0, true), ..off.clone() };
    for sample in 0..50 {
        assert_eq!(run(&off, 3, (1, 2, sample, 0)), run(&idle, 3, (1, 2, sample, 0)));
    }
}

#[test]
fn grayscale_comes_before_or_after_rand_augment_as_the_recipe_says() {
    let made = |before_grayscale| {
        let rand_augment = always(ImageOp::Solarize, 100.0, before_grayscale);
        let view = View { grayscale_probability: 1.0, rand_augment, ..plain_view(SIZE) };
        run(&view, 3, (1, 2, 3, 0))
    };
    let luma = |pixel: [f32; 3]| 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
    let solarize = |value: f32| {
        let byte = (value * 255.0 + 0.5).floor();
        if byte < 100.0 { byte / 255.0 } else { 1.0 - byte / 255.0 }
    };
    for ((early, late), rgb) in made(false).chunks(3).zip(made(true).chunks(3)).zip(source(3).chunks(3)) {
        let rgb = [rgb[0], rgb[1], rgb[2]];
        for (found, expected) in [(early, solarize(luma(rgb))), (late, luma(rgb.map(solarize)))] {
            assert!(found.iter().all(|value| (value - expected).abs() < 1e-5), "{found:?} for {expected}");
        }
    }
}

#[test]
fn the_fill_is_the_mean_colour_of_the_data() {
    let rand_augment = always(ImageOp::TranslateX, 1.0, false)
        .map(|recipe| RandAugment { fill: kindred_proto::recipe::Fill::Mean, ..recipe });
    let view = View { rand_augment, ..plain_view(SIZE) };
    let pipeline = Pipeline::new((0, &view), 3, (&[0.485, 0.456, 0.406], &[0.25]), 1).expect("a valid view");
    let bytes = noise((SIZE * SIZE * 3) as usize, 5);
    let (mut work, mut output) = (Work::default(), vec![0.0; pipeline.n_values()]);
    pipeline.prepare(Pixels { width: SIZE, height: SIZE, channels: 3, bytes: &bytes }, (0, 0), &mut work);
    pipeline.write(&work, &mut output);
    for pixel in output.chunks(3) {
        for ((value, mean), byte) in pixel.iter().zip([0.485, 0.456, 0.406]).zip([124.0, 116.0, 104.0]) {
            assert!((value - (byte / 255.0 - mean) / 0.25).abs() < 1e-5, "{pixel:?}");
        }
    }
}

#[test]
fn a_jigsaw_is_a_patch_of_each_cell_row_by_row() {
    let jigsaw = Some(Jigsaw { grid: 3, patch_size: 3 });
    let source = source(3);
    let pixel = |y: usize, x: usize| &source[(y * SIZE as usize + x) * 3..][..3];
    let mut corners = std::collections::BTreeSet::new();
    for mirror in [0.0, 1.0] {
        let view = View { jigsaw: jigsaw.clone(), horizontal_flip_probability: mirror, ..plain_view(SIZE) };
        let pixel = |y, x| if mirror == 1.0 { pixel(y, SIZE as usize - 1 - x) } else { pixel(y, x) };
        for sample in 0..20 {
            let patches = run(&view, 3, (1, 2, sample, 0));
            assert_eq!(patches.len(), 9 * 3 * 3 * 3);
            for (at, patch) in patches.chunks(27).enumerate() {
                let is_at = |&(top, left): &(usize, usize)| {
                    let mut places = (0..9).map(|at| (top + at / 3, left + at % 3));
                    places.all(|(y, x)| patch[((y - top) * 3 + x - left) * 3..][..3] == *pixel(y, x))
                };
                let (row, column) = (at / 3 * 4, at % 3 * 4);
                let mut places = (0..4).map(|at| (row + at / 2, column + at % 2));
                let found = places.find(is_at).expect("a patch of its own cell");
                corners.insert((found.0 - row, found.1 - column));
            }
        }
    }
    assert_eq!(corners.len(), 4, "patches lie everywhere in their cells");
}

#[test]
fn a_view_in_another_colour_space_has_its_own_statistics() {
    let statistics = Some(Statistics { mean: vec![50.0, 1.0, 2.0], std: vec![50.0, 90.0, 100.0] });
    let view = View { color_space: ColorSpace::Lab, statistics, ..plain_view(SIZE) };
    let found = run(&view, 3, (1, 2, 3, 0));
    for (found, rgb) in found.chunks(3).zip(source(3).chunks(3)) {
        let lab = from_rgb(ColorSpace::Lab, [0, 1, 2].map(|at| f64::from(rgb[at])));
        let expected = [(lab[0] - 50.0) / 50.0, (lab[1] - 1.0) / 90.0, (lab[2] - 2.0) / 100.0];
        let far = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-5, "{found:?} for {expected:?}");
    }
    let grey = Pipeline::new((1, &View::cmc(SIZE)), 1, (&[0.0], &[1.0]), 0).expect_err("must be refused");
    assert_eq!(grey.to_string(), "view 1 has a colour space, and the images are grey");
}
