//! Each operation beside torchvision's (on tensors of f32), and decoded files beside Pillow's: `tests/torchvision`.
//!
//! Tolerances, of [0, 1]: 2e-5, where nothing differs but rounding (the reference has 16 bits); 2e-4 with a luma, of which
//! torchvision rounds red's weight to .2989; 3e-3 for the blur, whose kernel torchvision cuts at a fixed size. Decoded
//! values differ by rounding of the inverse DCT and of colours.

use super::color::{ColorOp, ColorOps, solarize};
use super::output::Normalize;
use super::{BlurScratch, Resizer, Window, blur};
use crate::dataset::Pixels;
use crate::testing::open_folder;

const REFERENCE: &str = include_str!("../../tests/torchvision/ops.txt");
const SIZE: u32 = 24;

fn lines() -> impl Iterator<Item = (&'static str, Vec<f64>, &'static str)> {
    REFERENCE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[0], fields[1].split(',').filter_map(|argument| argument.parse().ok()).collect(), fields[2])
    })
}

/// Numbers of so many hexadecimal digits.
fn numbers(text: &str, n_digits: usize) -> Vec<f32> {
    let number = |at: usize| u32::from_str_radix(&text[at..at + n_digits], 16).expect("a number");
    (0..text.len()).step_by(n_digits).map(|at| number(at) as f32).collect()
}

fn source() -> Vec<u8> {
    let (_, _, values) = lines().find(|(name, ..)| *name == "source").expect("the source is there");
    numbers(values, 2).into_iter().map(|value| value as u8).collect()
}

/// Runs one operation; gives pixels of channels.
fn run(name: &str, arguments: &[f64]) -> Vec<f32> {
    let bytes = source();
    let image = Pixels { width: SIZE, height: SIZE, channels: 3, bytes: &bytes };
    let (window, size) = match arguments {
        &[left, top, width, height, size] => {
            let [left, top, width, height] = [left, top, width, height].map(|value| value as u32);
            (Window { left, top, width, height }, size as u32)
        }
        _ => (Window::whole(SIZE), SIZE),
    };
    let argument = arguments.first().copied().unwrap_or(0.0);
    let mut planes = Vec::new();
    Resizer::default().resize(image, window, size, &mut planes);
    let color = |op: ColorOp, planes: &mut Vec<f32>| ColorOps::only(op).run(planes, 3);
    match name {
        "brightness" => color(ColorOp::Brightness(argument as f32), &mut planes),
        "contrast" => color(ColorOp::Contrast(argument as f32), &mut planes),
        "saturation" => color(ColorOp::Saturation(argument as f32), &mut planes),
        "hue" => color(ColorOp::Hue(argument as f32), &mut planes),
        "grayscale" => color(ColorOp::Grayscale, &mut planes),
        "solarize" => solarize(&mut planes, argument as f32),
        "blur" => blur::blur(&mut planes, SIZE as usize, argument, &mut BlurScratch::default()),
        _ => {}
    }
    let mut output = vec![0.0; planes.len()];
    let plain = Normalize::new(3, &[0.0], &[1.0]).expect("valid statistics");
    plain.write((&planes, size as usize), Window::whole(size), name == "flip", &mut output);
    output
}

fn greatest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

#[test]
fn every_operation_agrees_with_torchvision() {
    let mut n_compared = 0;
    for (name, arguments, values) in lines().filter(|(name, ..)| !matches!(*name, "source" | "decode")) {
        let expected: Vec<f32> = numbers(values, 4).into_iter().map(|value| value / 65535.0).collect();
        let tolerance = match name {
            "contrast" | "saturation" | "grayscale" => 2e-4,
            "blur" => 3e-3,
            _ => 2e-5,
        };
        let found = greatest_difference(&run(name, &arguments), &expected);
        assert!(found < tolerance, "{name} {arguments:?} differs by {found}");
        n_compared += 1;
    }
    assert_eq!(n_compared, 17);
}

#[test]
fn decoded_files_agree_with_pillow() {
    for line in REFERENCE.lines().filter(|line| line.starts_with("decode")) {
        let fields: Vec<&str> = line.split(' ').collect();
        let file = format!("{}/tests/images/{}.jpg", env!("CARGO_MANIFEST_DIR"), fields[1]);
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::copy(&file, root.path().join("image.jpg")).expect("copies");
        let image = open_folder(root.path()).image(0).expect("decodes");
        let found: Vec<f32> = image.pixels.iter().map(|&byte| f32::from(byte)).collect();
        let difference = greatest_difference(&found, &numbers(fields[2], 2));
        assert!(difference <= 4.0, "{file} differs by {difference} of 255");
    }
}
