use super::*;
use crate::philox::{Domain, Key};

/// What Pillow makes of one image: `tests/pillow/make.py` prints it, its first line names the version.
const PILLOW: &str = include_str!("../../../tests/pillow/ops.txt");
/// A line of the file: channels, operation, pixels.
fn reference(line: &str) -> (usize, &str, Drawn, Vec<u8>) {
    let [mode, name, argument, interpolation, hex] =
        line.split(' ').collect::<Vec<_>>().try_into().expect("five words");
    let op = match name {
        "source" => ImageOp::Identity,
        "auto_contrast" => ImageOp::AutoContrast,
        "equalize" => ImageOp::Equalize,
        "invert" => ImageOp::Invert,
        "posterize" => ImageOp::Posterize,
        "solarize" => ImageOp::Solarize,
        "solarize_add" => ImageOp::SolarizeAdd,
        "color" => ImageOp::Color,
        "contrast" => ImageOp::Contrast,
        "brightness" => ImageOp::Brightness,
        "sharpness" => ImageOp::Sharpness,
        "rotate" => ImageOp::Rotate,
        "shear_x" => ImageOp::ShearX,
        "shear_y" => ImageOp::ShearY,
        "translate_x" => ImageOp::TranslateX,
        "translate_y" => ImageOp::TranslateY,
        other => panic!("unknown operation {other}"),
    };
    let interpolation = match interpolation {
        "bilinear" => Interpolation::Bilinear,
        "bicubic" => Interpolation::Bicubic,
        _ => Interpolation::Nearest,
    };
    let digit = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal");
    let pixels = (0..hex.len() / 2).map(digit).collect();
    let argument = argument.parse().expect("a number");
    (mode.len(), name, Drawn { op, argument, interpolation }, pixels)
}

/// Rows of pixels as planes.
fn planes(pixels: &[u8], channels: usize) -> Vec<u8> {
    (0..channels).flat_map(|channel| pixels.iter().copied().skip(channel).step_by(channels)).collect()
}

#[test]
fn every_operation_is_pillows_to_the_bit() {
    let mut source = Vec::new();
    let mut n_cases = 0;
    for line in PILLOW.lines().filter(|line| !line.starts_with('#')) {
        let (channels, name, drawn, pixels) = reference(line);
        let expected = planes(&pixels, channels);
        if name == "source" {
            source = expected;
            continue;
        }
        let size = (source.len() / channels).isqrt();
        let mut bytes = Bytes { planes: source.clone(), size, before: Vec::new() };
        drawn.run(&mut bytes, if channels == 3 { &[124, 116, 104] } else { &[114] });
        let n_other =
            bytes.planes.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
        assert_eq!(n_other, 0, "values that differ: {channels} channels, {drawn:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 2 * 71, "of RGB and of grey");
}

fn stream(sample: u64) -> Stream {
    Stream::new(Key::of_epoch(1, 2, Domain::Views), sample, 0)
}

#[test]
fn arguments_are_those_of_the_published_codes() {
    let of = |recipe: RandAugment, op: ImageOp| {
        let op = *recipe.ops.iter().find(|each| each.op == op).expect("in the pool");
        move |level: f64| argument(op, level)
    };
    let clsa = |op| of(RandAugment::clsa(), op);
    assert_eq!([1.0, 5.0, 9.0].map(clsa(ImageOp::Posterize)), [4.0, 6.0, 7.0]);
    assert_eq!([1.0, 5.0, 9.0].map(clsa(ImageOp::Solarize)), [231.0, 128.0, 26.0]);
    assert_eq!([1.0, 9.0].map(clsa(ImageOp::Rotate)), [3.0, 27.0]);
    assert!((clsa(ImageOp::Sharpness)(9.0) - 0.86).abs() < 1e-12);
    let infomin = |op| of(RandAugment::infomin(), op);
    assert_eq!([0.0, 9.7, 10.0].map(infomin(ImageOp::Posterize)), [0.0, 3.0, 4.0]);
    assert_eq!([9.7, 10.0].map(infomin(ImageOp::Solarize)), [248.0, 256.0]);
    assert_eq!([9.7, 10.0].map(infomin(ImageOp::SolarizeAdd)), [106.0, 110.0]);
    assert!((infomin(ImageOp::Color)(10.0) - 1.9).abs() < 1e-12);
    assert!((infomin(ImageOp::TranslateX)(5.0) - 0.225).abs() < 1e-12);
}

#[test]
fn every_operation_is_drawn_as_often_and_either_way() {
    let recipe = RandAugment { ops: RandAugment::clsa().ops[6..].to_vec(), ..RandAugment::clsa() };
    let drawn: Vec<Drawn> = (0..16_000).filter_map(|sample| draw(&recipe, &mut stream(sample))).collect();
    assert!(drawn.len().abs_diff(8000) < 250, "{} of 16,000 happen", drawn.len());
    for op in &recipe.ops {
        let of_op = drawn.iter().filter(|each| each.op == op.op);
        let (n, n_negative) = (of_op.clone().count(), of_op.filter(|each| each.argument < 0.0).count());
        assert!(n.abs_diff(1000) < 130, "{:?}: {n} of 8,000", op.op);
        let expected = if has_sign(op.op) { n / 2 } else { 0 };
        assert!(n_negative.abs_diff(expected) < 70, "{:?}: {n_negative} negative of {n}", op.op);
    }
}

#[test]
fn levels_are_whole_and_uniform_or_normal_and_cut_off() {
    let levels =
        |level| -> Vec<f64> { (0..9000).map(|sample| draw_level(level, &mut stream(sample))).collect() };
    let uniform = levels(Level::Uniform { min: 1, max: 9 });
    for level in 1..=9 {
        let n = uniform.iter().filter(|&&each| each == f64::from(level)).count();
        assert!(n.abs_diff(1000) < 130, "level {level}: {n} of 9,000");
    }
    let normal = levels(Level::Normal { mean: 5.0, std: 0.5 });
    let mean = normal.iter().sum::<f64>() / 9000.0;
    let variance = normal.iter().map(|level| (level - mean).powi(2)).sum::<f64>() / 9000.0;
    assert!((mean - 5.0).abs() < 0.02 && (variance - 0.25).abs() < 0.02, "mean {mean}, variance {variance}");
    let cut = levels(Level::Normal { mean: 10.0, std: 0.5 });
    assert!(cut.iter().filter(|&&level| level == 10.0).count().abs_diff(4500) < 200);
}

#[test]
fn nothing_drawn_leaves_the_values_alone_and_an_operation_rounds_them() {
    let run = |probability: f64| {
        let recipe = RandAugment {
            ops: vec![RandAugmentOp { op: ImageOp::Posterize, from: 8.0, to: 8.0 }],
            probability,
            ..RandAugment::clsa()
        };
        let mut planes = [0.1, 0.5, 0.9, 1.0];
        super::run(&recipe, &mut stream(0), (&mut planes, 2), &[0.5], &mut Bytes::default());
        planes
    };
    assert_eq!(run(0.0), [0.1, 0.5, 0.9, 1.0]);
    assert_eq!(run(1.0), [26, 128, 230, 255].map(|byte: u8| f32::from(byte) * (1.0 / 255.0)));
}
