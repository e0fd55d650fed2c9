use kindred_proto::job_spec::{self, JobSpec};

use super::*;
use crate::testing::{folder, idx_set, open_folder};

/// A recipe with these overrides; its data are given apart.
fn recipe(data: &str, overrides: &[&str]) -> Recipe {
    let text = format!("{{name: sheet, recipe: {{data: {data}, method: {{moco_v2: {{}}}}}}}}");
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let wire = job_spec::from_yaml(&text, &overrides).expect("is YAML");
    JobSpec::check(&wire).expect("within bounds").recipe
}

/// Width, rows of RGB.
fn decoded(file: &[u8]) -> (usize, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("a PNG file");
    let mut pixels = vec![0; reader.output_buffer_size().expect("fits")];
    let info = reader.next_frame(&mut pixels).expect("whole");
    (info.width as usize, pixels.as_chunks().0.to_vec())
}

const PLAIN: &str = "{crop: {size: 48, scale_min: 1, ratio_min: 1, ratio_max: 1}}";

#[test]
fn a_row_is_the_image_and_then_its_views() {
    let root = folder(3, (48, 48));
    let dataset = open_folder(root.path());
    let small = "{crop: {size: 16, scale_min: 1, ratio_min: 1, ratio_max: 1}, color_space: lab}";
    let recipe = recipe("{image_folder: {train: x}}", &[&format!("recipe.views=[{PLAIN}, {small}]")]);
    let (width, pixels) = decoded(&contact_sheet(&dataset, &recipe, 2).expect("decodes"));
    assert_eq!((width, pixels.len() / width), (2 + 98 + 98 + 34, 2 + 98 + 98));
    let order = Order::new(3, recipe.training.seed, 0);
    for row in 0..2 {
        let image = dataset.image(order.at(row as u64)).expect("decodes");
        for (y, x) in [(0, 0), (17, 40), (47, 47)] {
            for left in [2, 100] {
                let found = pixels[(2 + row * 98 + 2 * y) * width + left + 2 * x];
                assert_eq!(found[..], image.pixels[(y * 48 + x) * 3..][..3], "row {row}, {y}, {x}");
            }
        }
    }
    assert_eq!(pixels[0], [BACKGROUND; 3]);
}

#[test]
fn grey_images_and_jigsaws_are_shown_too() {
    let dataset = idx_set(600, (28, 28));
    let jigsaw = "{crop: {size: 96}, jigsaw: {grid: 3, patch_size: 20}}";
    let recipe = recipe("{fashion_mnist: {}}", &[&format!("recipe.views=[{PLAIN}, {jigsaw}]")]);
    let (width, pixels) = decoded(&contact_sheet(&dataset, &recipe, 1).expect("decodes"));
    assert_eq!(width, 2 + 98 + 50 + (3 * 20 + 2) + 2);
    let jigsaw = |y: usize, x: usize| pixels[(2 + y) * width + 150 + x];
    assert!((0..62).all(|x| jigsaw(20, x) == [BACKGROUND; 3] && jigsaw(x, 41) == [BACKGROUND; 3]));
    assert!((0..20).any(|x| jigsaw(3, x) != [BACKGROUND; 3]));
    assert!(pixels.iter().all(|[red, green, blue]| red == green && green == blue));
}

#[test]
fn no_more_rows_than_images() {
    let dataset = idx_set(600, (28, 28));
    let recipe = recipe("{fashion_mnist: {}}", &["recipe.views=[{crop: {size: 28}}, {crop: {size: 28}}]"]);
    let (width, pixels) = decoded(&contact_sheet(&dataset, &recipe, 10_000).expect("decodes"));
    assert_eq!(pixels.len() / width, 600 * (3 * 28 + 2) + 2);
}
