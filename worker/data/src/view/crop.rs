//! Where a random crop lies.

use kindred_proto::recipe::RandomResizedCrop;

use crate::philox::Stream;

/// Tries before the fallback.
const N_TRIES: u32 = 10;

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Window {
    /// All of a square image.
    pub(crate) fn whole(size: u32) -> Window {
        Window { left: 0, top: 0, width: size, height: size }
    }

    /// The greatest square in the middle.
    pub(crate) fn central_square(width: u32, height: u32) -> Window {
        let side = width.min(height);
        Window::central((width, height), (side, side))
    }

    fn central((width, height): (u32, u32), (inner_width, inner_height): (u32, u32)) -> Window {
        Window {
            left: (width - inner_width) / 2,
            top: (height - inner_height) / 2,
            width: inner_width,
            height: inner_height,
        }
    }
}

/// Draws a window as torchvision's `RandomResizedCrop.get_params`: up to ten tries, then the greatest central window
/// whose ratio is allowed.
pub(super) fn draw(crop: &RandomResizedCrop, (width, height): (u32, u32), stream: &mut Stream) -> Window {
    let area = f64::from(width) * f64::from(height);
    let (ln_min, ln_max) = (crop.ratio_min.ln(), crop.ratio_max.ln());
    for _ in 0..N_TRIES {
        let target = area * stream.uniform(crop.scale_min, crop.scale_max);
        let ratio = stream.uniform(ln_min, ln_max).exp();
        let inner_width = (target * ratio).sqrt().round_ties_even() as u32;
        let inner_height = (target / ratio).sqrt().round_ties_even() as u32;
        if (1..=width).contains(&inner_width) && (1..=height).contains(&inner_height) {
            let top = stream.below(height - inner_height + 1);
            let left = stream.below(width - inner_width + 1);
            return Window { left, top, width: inner_width, height: inner_height };
        }
    }
    fallback(crop, (width, height))
}

fn fallback(crop: &RandomResizedCrop, (width, height): (u32, u32)) -> Window {
    let ratio = f64::from(width) / f64::from(height);
    let side = |length: f64, max: u32| (length.round_ties_even() as u32).clamp(1, max);
    let inner = if ratio < crop.ratio_min {
        (width, side(f64::from(width) / crop.ratio_min, height))
    } else if ratio > crop.ratio_max {
        (side(f64::from(height) * crop.ratio_max, width), height)
    } else {
        (width, height)
    };
    Window::central((width, height), inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::philox::{Domain, Key};

    fn stream(sample: u64) -> Stream {
        Stream::new(Key::of_epoch(1, 2, Domain::Views), sample, 0)
    }

    fn crop((scale_min, scale_max): (f64, f64), (ratio_min, ratio_max): (f64, f64)) -> RandomResizedCrop {
        RandomResizedCrop { size: 8, scale_min, scale_max, ratio_min, ratio_max }
    }

    proptest! {
        #[test]
        fn a_window_lies_in_the_image(
            width in 1u32..3000, height in 1u32..3000, scale in 0.001f64..1.0, ratio in 0.1f64..10.0, sample: u64,
        ) {
            let crop = crop((scale, 1.0), (ratio, ratio * 1.5));
            for window in [draw(&crop, (width, height), &mut stream(sample)), fallback(&crop, (width, height))] {
                prop_assert!(window.width >= 1 && window.left + window.width <= width);
                prop_assert!(window.height >= 1 && window.top + window.height <= height);
            }
        }
    }

    #[test]
    fn areas_and_ratios_are_those_asked_for() {
        let crop = crop((0.2, 0.6), (0.75, 4.0 / 3.0));
        let windows: Vec<Window> =
            (0..4000).map(|sample| draw(&crop, (1000, 1000), &mut stream(sample))).collect();
        let area = |window: &Window| f64::from(window.width) * f64::from(window.height) / 1e6;
        let ln_ratio = |window: &Window| (f64::from(window.width) / f64::from(window.height)).ln();
        assert!(windows.iter().all(|window| (0.199..0.601).contains(&area(window))));
        assert!(windows.iter().all(|window| ln_ratio(window).abs() < (4.0f64 / 3.0).ln() + 0.01));
        let mean = |value: &dyn Fn(&Window) -> f64| windows.iter().map(value).sum::<f64>() / 4000.0;
        assert!((mean(&area) - 0.4).abs() < 0.01, "mean area {}", mean(&area));
        assert!(mean(&ln_ratio).abs() < 0.01, "mean log ratio {}", mean(&ln_ratio));
        let centre = mean(&|window| f64::from(window.left) + f64::from(window.width) / 2.0);
        assert!((centre - 500.0).abs() < 10.0, "mean centre {centre}");
    }

    #[test]
    fn where_no_try_fits_the_greatest_central_window_is_taken() {
        let crop = crop((1.0, 1.0), (0.75, 4.0 / 3.0));
        let expected = [
            ((1000, 10), Window { left: 493, top: 0, width: 13, height: 10 }),
            ((10, 1000), Window { left: 0, top: 493, width: 10, height: 13 }),
        ];
        for (size, window) in expected {
            assert_eq!(draw(&crop, size, &mut stream(0)), window);
        }
        assert_eq!(fallback(&crop, (12, 11)), Window { left: 0, top: 0, width: 12, height: 11 });
    }

    #[test]
    fn a_central_square_splits_the_rest_evenly() {
        assert_eq!(Window::central_square(9, 4), Window { left: 2, top: 0, width: 4, height: 4 });
    }
}
