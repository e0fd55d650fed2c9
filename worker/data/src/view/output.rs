//! The last step of a view: mirror, normalise, and write as pixels of channels.

use super::Window;
use super::lanes::{Kernel, Wide};
use crate::Error;

/// Subtracts the mean and divides by the standard deviation, per channel.
#[derive(Clone, Debug)]
pub(crate) struct Normalize {
    /// Per channel: 1 / std and -mean / std.
    factors: Vec<(f32, f32)>,
}

impl Normalize {
    /// Prepares statistics of one value, or of one per channel.
    pub(crate) fn new(channels: u32, mean: &[f64], std: &[f64]) -> Result<Normalize, Error> {
        let fits = |values: &[f64]| values.len() == 1 || values.len() == channels as usize;
        if !fits(mean) || !fits(std) {
            let message =
                format!("{} means and {} standard deviations for {channels} channels", mean.len(), std.len());
            return Err(Error::Config(message));
        }
        if !std.iter().all(|&std| std > 0.0) {
            return Err(Error::Config(format!("standard deviations {std:?} are not all above 0")));
        }
        let at = |values: &[f64], channel: usize| values[channel.min(values.len() - 1)];
        let factors = |channel| {
            let (mean, std) = (at(mean, channel), at(std, channel));
            ((1.0 / std) as f32, (-mean / std) as f32)
        };
        Ok(Normalize { factors: (0..channels as usize).map(factors).collect() })
    }

    pub(crate) fn channels(&self) -> usize {
        self.factors.len()
    }

    /// Writes a square window of square planes of side `size` to `output`, rows of pixels of channels.
    pub(crate) fn write(
        &self,
        (planes, size): (&[f32], usize),
        window: Window,
        mirrored: bool,
        output: &mut [f32],
    ) {
        assert_eq!(planes.len(), size * size * self.channels(), "a view is written to a buffer of its size");
        Write { factors: &self.factors, planes, size, window, mirrored, output }.dispatch();
    }
}

struct Write<'a> {
    factors: &'a [(f32, f32)],
    planes: &'a [f32],
    size: usize,
    window: Window,
    mirrored: bool,
    output: &'a mut [f32],
}

impl Kernel for Write<'_> {
    #[inline(always)]
    fn run(self, wide: Option<Wide>) {
        let width = self.window.width as usize;
        for (y, row) in self.output.chunks_exact_mut(width * self.factors.len()).enumerate() {
            let start = (self.window.top as usize + y) * self.size + self.window.left as usize;
            let plane_row = |channel: usize| &self.planes[channel * self.size * self.size + start..][..width];
            match *self.factors {
                [(scale, shift)] => write_grey(plane_row(0), (scale, shift), self.mirrored, row),
                [red, green, blue] => {
                    let planes = [0, 1, 2].map(plane_row);
                    write_pixels(wide, planes, [red, green, blue], self.mirrored, row);
                }
                _ => unreachable!("images have 1 or 3 channels"),
            }
        }
    }
}

#[inline(always)]
fn write_grey(values: &[f32], (scale, shift): (f32, f32), mirrored: bool, row: &mut [f32]) {
    row.iter_mut().zip(values).for_each(|(out, value)| *out = scale * value + shift);
    if mirrored {
        row.reverse();
    }
}

#[inline(always)]
fn write_pixels(
    wide: Option<Wide>,
    planes: [&[f32]; 3],
    factors: [(f32, f32); 3],
    mirrored: bool,
    row: &mut [f32],
) {
    let n_done = match wide {
        Some(wide) => wide.merge(planes, factors, mirrored, row),
        None => 0,
    };
    let width = planes[0].len();
    for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate().skip(n_done) {
        let x = if mirrored { width - 1 - x } else { x };
        *pixel = [0, 1, 2].map(|channel| {
            let (scale, shift) = factors[channel];
            scale * planes[channel][x] + shift
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_normalised_pixels() {
        let normalize = Normalize::new(3, &[0.5, 0.0, 1.0], &[0.5, 1.0, 2.0]).expect("valid statistics");
        let planes =
            [0.0, 0.5, 1.0, 0.5, /* green */ 0.1, 0.2, 0.3, 0.4, /* blue */ 1.0, 1.0, 3.0, 5.0];
        let mut output = [0.0; 12];
        normalize.write((&planes, 2), Window::whole(2), false, &mut output);
        assert_eq!(output, [-1.0, 0.1, 0.0, 0.0, 0.2, 0.0, 1.0, 0.3, 1.0, 0.0, 0.4, 2.0]);
        normalize.write((&planes, 2), Window::whole(2), true, &mut output);
        assert_eq!(output, [0.0, 0.2, 0.0, -1.0, 0.1, 0.0, 0.0, 0.4, 2.0, 1.0, 0.3, 1.0]);
    }

    #[test]
    fn plain_loops_give_the_bits_of_wide_registers() {
        let factors =
            Normalize::new(3, &[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]).expect("valid").factors;
        let planes: Vec<f32> = (0..3 * 70 * 70).map(|at| (at * 7919 % 1009) as f32 / 1008.0).collect();
        for (mirrored, width) in [(false, 70), (true, 70), (true, 37), (false, 16), (true, 5)] {
            let window = Window { left: 70 - width, top: 70 - width, width, height: width };
            let n_values = 3 * width as usize * width as usize;
            let (mut wide, mut plain) = (vec![0.0; n_values], vec![0.0; n_values]);
            let (factors, planes) = (&factors[..], &planes[..]);
            Write { factors, planes, size: 70, window, mirrored, output: &mut wide }.dispatch();
            Write { factors, planes, size: 70, window, mirrored, output: &mut plain }.run(None);
            assert!(wide == plain, "{width} mirrored {mirrored}");
        }
    }

    #[test]
    fn grey_rows_are_mirrored_too() {
        let normalize = Normalize::new(1, &[0.0], &[1.0]).expect("valid statistics");
        let mut output = [0.0; 4];
        normalize.write((&[1.0, 2.0, 3.0, 4.0], 2), Window::whole(2), true, &mut output);
        assert_eq!(output, [2.0, 1.0, 4.0, 3.0]);
    }

    #[test]
    fn a_window_is_cut_out_and_mirrored_in_itself() {
        let normalize = Normalize::new(1, &[0.0], &[1.0]).expect("valid statistics");
        let planes: Vec<f32> = (0..16).map(|at| at as f32).collect();
        let window = Window { left: 1, top: 2, width: 2, height: 2 };
        let mut output = [0.0; 4];
        normalize.write((&planes, 4), window, false, &mut output);
        assert_eq!(output, [9.0, 10.0, 13.0, 14.0]);
        normalize.write((&planes, 4), window, true, &mut output);
        assert_eq!(output, [10.0, 9.0, 14.0, 13.0]);
    }

    #[test]
    fn one_statistic_serves_all_channels() {
        let normalize = Normalize::new(3, &[0.5], &[0.25]).expect("valid statistics");
        let mut output = [0.0; 3];
        normalize.write((&[0.5, 0.75, 1.0], 1), Window::whole(1), false, &mut output);
        assert_eq!(output, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn statistics_that_do_not_fit_are_refused() {
        let message = |channels, mean: &[f64], std: &[f64]| {
            Normalize::new(channels, mean, std).expect_err("must be refused").to_string()
        };
        assert_eq!(message(3, &[0.5, 0.5], &[1.0]), "2 means and 1 standard deviations for 3 channels");
        assert_eq!(message(1, &[0.5], &[0.0]), "standard deviations [0.0] are not all above 0");
    }
}
