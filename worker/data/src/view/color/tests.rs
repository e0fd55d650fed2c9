use super::*;
use crate::philox::{Domain, Key};
use crate::testing::noise;

const OPS: [ColorOp; 5] = [
    ColorOp::Brightness(1.3),
    ColorOp::Contrast(0.6),
    ColorOp::Saturation(1.4),
    ColorOp::Hue(-0.17),
    ColorOp::Grayscale,
];

/// Planes that fill one tile and a part of another.
fn planes(channels: usize) -> Vec<f32> {
    noise(1100 * channels, 3).into_iter().map(|byte| f32::from(byte) / 255.0).collect()
}

fn run(ops: &[ColorOp], planes: &mut [f32], channels: usize) {
    let mut all = ColorOps::default();
    all.ops.iter_mut().zip(ops).for_each(|(slot, op)| *slot = Some(*op));
    all.run(planes, channels);
}

/// One operation on the whole image, in f64, as torchvision's documentation words it.
fn oracle(op: ColorOp, pixels: &mut [[f64; 3]]) {
    let luma = |[r, g, b]: [f64; 3]| 0.299 * r + 0.587 * g + 0.114 * b;
    let blend =
        |a: f64, b: f64, factor: f32| (a * f64::from(factor) + b * (1.0 - f64::from(factor))).clamp(0.0, 1.0);
    let mean = pixels.iter().map(|&pixel| luma(pixel)).sum::<f64>() / pixels.len() as f64;
    for pixel in pixels {
        let grey = luma(*pixel);
        *pixel = match op {
            ColorOp::Brightness(factor) => pixel.map(|value| blend(value, 0.0, factor)),
            ColorOp::Contrast(factor) => pixel.map(|value| blend(value, mean, factor)),
            ColorOp::Saturation(factor) => pixel.map(|value| blend(value, grey, factor)),
            ColorOp::Hue(turn) => rgb(hsv(*pixel), f64::from(turn)),
            ColorOp::Grayscale => [grey; 3],
        };
    }
}

/// Hue in [0, 1), saturation and value, after Smith (SIGGRAPH 1978).
fn hsv([r, g, b]: [f64; 3]) -> [f64; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let range = max - min;
    let hue = if range == 0.0 {
        0.0
    } else if max == r {
        (g - b) / range
    } else if max == g {
        2.0 + (b - r) / range
    } else {
        4.0 + (r - g) / range
    };
    [(hue / 6.0).rem_euclid(1.0), if max == 0.0 { 0.0 } else { range / max }, max]
}

fn rgb([hue, saturation, value]: [f64; 3], turn: f64) -> [f64; 3] {
    let sixths = (hue + turn).rem_euclid(1.0) * 6.0;
    let (sector, rest) = (sixths.floor(), sixths.fract());
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - saturation * rest);
    let rising = value * (1.0 - saturation * (1.0 - rest));
    match sector as u32 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

fn assert_close(planes: &[f32], pixels: &[[f64; 3]], what: &str) {
    for (at, pixel) in pixels.iter().enumerate() {
        for (channel, expected) in pixel.iter().enumerate() {
            let found = f64::from(planes[channel * pixels.len() + at]);
            assert!((found - expected).abs() < 1e-5, "{what}, pixel {at}: {found} for {expected}");
        }
    }
}

#[test]
fn any_order_of_operations_equals_one_by_one_on_the_whole_image() {
    let triples =
        OPS.iter().flat_map(|&a| OPS.iter().flat_map(move |&b| OPS.iter().map(move |&c| [a, b, c])));
    for ops in triples.filter(|[a, b, c]| a != b && b != c && a != c) {
        let mut found = planes(3);
        let pixel = |at: usize| [0, 1, 2].map(|channel| f64::from(found[channel * 1100 + at]));
        let mut pixels: Vec<[f64; 3]> = (0..1100).map(pixel).collect();
        run(&ops, &mut found, 3);
        ops.iter().for_each(|&op| oracle(op, &mut pixels));
        assert_close(&found, &pixels, &format!("{ops:?}"));
    }
}

#[test]
fn values_worked_out_by_hand_come_out() {
    let cases = [
        (ColorOp::Brightness(2.0), [0.2, 0.4, 0.6], [0.4, 0.8, 1.0]),
        (ColorOp::Contrast(0.0), [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
        (ColorOp::Saturation(0.0), [1.0, 0.0, 0.0], [0.299, 0.299, 0.299]),
        (ColorOp::Hue(1.0 / 3.0), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        (ColorOp::Hue(-1.0 / 3.0), [0.5, 0.0, 0.0], [0.0, 0.0, 0.5]),
        (ColorOp::Hue(0.5), [0.25, 0.25, 0.25], [0.25, 0.25, 0.25]),
        (ColorOp::Grayscale, [0.0, 1.0, 0.0], [0.587, 0.587, 0.587]),
    ];
    for (op, mut pixel, expected) in cases {
        run(&[op], &mut pixel, 3);
        let error =
            pixel.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
        assert!(error < 1e-6, "{op:?}: {pixel:?} for {expected:?}");
    }
}

#[test]
fn grey_contrast_moves_values_away_from_their_mean() {
    let mut grey = [0.2, 0.4, 0.6, 0.8];
    run(&[ColorOp::Contrast(1.5)], &mut grey, 1);
    let expected: [f32; 4] = [0.05, 0.35, 0.65, 0.95];
    assert!(grey.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{grey:?}");
}

#[test]
fn saturation_hue_and_grayscale_leave_grey_images_alone() {
    let mut grey = planes(1);
    run(&OPS[2..], &mut grey, 1);
    assert_eq!(grey, planes(1));
}

fn drawn(jitter: &ColorJitter, sample: u64) -> [Option<ColorOp>; 4] {
    draw_jitter(jitter, &mut Stream::new(Key::of_epoch(1, 2, Domain::Views), sample, 0))
}

#[test]
fn jitter_draws_all_orders_and_factors_in_their_range() {
    let jitter = ColorJitter { probability: 0.8, brightness: 0.4, contrast: 1.5, saturation: 0.2, hue: 0.1 };
    let mut orders = std::collections::HashMap::new();
    let mut n_jittered = 0;
    for ops in (0..24_000).map(|sample| drawn(&jitter, sample)) {
        let [Some(_), Some(_), Some(_), Some(_)] = ops else {
            assert_eq!(ops, [None; 4]);
            continue;
        };
        n_jittered += 1;
        *orders.entry(ops.map(|op| op.map(|op| std::mem::discriminant(&op)))).or_insert(0) += 1;
        for op in ops.into_iter().flatten() {
            let (value, range) = match op {
                ColorOp::Brightness(value) => (value, 0.6..1.4),
                ColorOp::Contrast(value) => (value, 0.0..2.5),
                ColorOp::Saturation(value) => (value, 0.8..1.2),
                ColorOp::Hue(value) => (value, -0.1..0.1),
                ColorOp::Grayscale => unreachable!("not a part of jitter"),
            };
            assert!(range.contains(&value), "{op:?}");
        }
    }
    assert!((18_900..19_500).contains(&n_jittered), "{n_jittered} of 24,000");
    assert_eq!(orders.len(), 24);
    assert!(orders.values().all(|n| (680..920).contains(n)), "{orders:?}");
}

#[test]
fn a_strength_of_zero_switches_its_part_off_and_shifts_no_other() {
    let jitter = ColorJitter { probability: 1.0, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
    for sample in 0..100 {
        let without = drawn(&ColorJitter { contrast: 0.0, ..jitter.clone() }, sample);
        let expected = drawn(&jitter, sample).map(|op| op.filter(|op| !matches!(op, ColorOp::Contrast(_))));
        assert_eq!(without, expected);
    }
}

#[test]
fn solarize_inverts_at_and_above_its_threshold() {
    let mut planes = [0.0, 0.49, 0.5, 0.75, 1.0];
    solarize(&mut planes, 0.5);
    assert_eq!(planes, [0.0, 0.49, 0.5, 0.25, 0.0]);
}
