//! AVX-512's shuffles.

use std::arch::x86_64::{__m512, __m512i};

use pulp::x86::V4;
use pulp::{Arch, cast};

use super::LANES;

type Indices = [u32; LANES];

/// Where each lane of a register of one channel lies in three registers of pixels: below 32 in the first two, then in the
/// one that the permutation before gave (0 to 15) or in the third (16 to 31).
const SPLIT: [(Indices, Indices); 3] = split_indices();
/// For each third of 16 pixels: where its lanes lie in red and green, then in those and blue.
const MERGE: [(Indices, Indices); 3] = merge_indices(false);
/// The same, with the pixels in the opposite order.
const MERGE_MIRRORED: [(Indices, Indices); 3] = merge_indices(true);

const fn split_indices() -> [(Indices, Indices); 3] {
    let mut tables = [([0; LANES], [0; LANES]); 3];
    let mut channel = 0;
    while channel < 3 {
        let mut lane = 0;
        while lane < LANES {
            let at = 3 * lane + channel;
            if at < 2 * LANES {
                tables[channel].0[lane] = at as u32;
                tables[channel].1[lane] = lane as u32;
            } else {
                tables[channel].1[lane] = (at - LANES) as u32;
            }
            lane += 1;
        }
        channel += 1;
    }
    tables
}

const fn merge_indices(mirrored: bool) -> [(Indices, Indices); 3] {
    let mut tables = [([0; LANES], [0; LANES]); 3];
    let mut at = 0;
    while at < 3 * LANES {
        let (third, lane, channel) = (at / LANES, at % LANES, at % 3);
        let pixel = if mirrored { LANES - 1 - at / 3 } else { at / 3 };
        if channel < 2 {
            tables[third].0[lane] = (channel * LANES + pixel) as u32;
            tables[third].1[lane] = lane as u32;
        } else {
            tables[third].1[lane] = (LANES + pixel) as u32;
        }
        at += 1;
    }
    tables
}

/// The proof that this CPU has AVX-512.
///
/// No closures here: they would be compiled without it, and every intrinsic in them be a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide(V4);

impl Wide {
    pub(super) fn of(arch: Arch) -> Option<Wide> {
        match arch {
            Arch::V4(simd) => Some(Wide(simd)),
            _ => None,
        }
    }

    /// Writes bytes of RGB pixels to one slice per channel, as far as whole registers reach; gives the number of pixels.
    #[inline(always)]
    pub(crate) fn split(self, bytes: &[u8], [red, green, blue]: [&mut [f32]; 3]) -> usize {
        let pixels = bytes.as_chunks::<{ 3 * LANES }>().0.iter();
        let planes =
            red.as_chunks_mut().0.iter_mut().zip(green.as_chunks_mut().0).zip(blue.as_chunks_mut().0);
        let mut n_pixels = 0;
        for (pixels, ((red, green), blue)) in pixels.zip(planes) {
            let thirds = [
                self.floats(&pixels[..LANES]),
                self.floats(&pixels[LANES..2 * LANES]),
                self.floats(&pixels[2 * LANES..]),
            ];
            *red = self.pick_of_three(thirds, &SPLIT[0]);
            *green = self.pick_of_three(thirds, &SPLIT[1]);
            *blue = self.pick_of_three(thirds, &SPLIT[2]);
            n_pixels += LANES;
        }
        n_pixels
    }

    /// Writes `scale * value + shift` of three channels as pixels, as far as whole registers reach, in the opposite order
    /// if mirrored; gives the number of pixels.
    #[inline(always)]
    pub(crate) fn merge(
        self,
        planes: [&[f32]; 3],
        factors: [(f32, f32); 3],
        mirrored: bool,
        output: &mut [f32],
    ) -> usize {
        let tables = if mirrored { &MERGE_MIRRORED } else { &MERGE };
        let width = planes[0].len();
        let n_blocks = width / LANES;
        for (at, output) in output.as_chunks_mut::<{ 3 * LANES }>().0.iter_mut().take(n_blocks).enumerate() {
            let start = if mirrored { width - (at + 1) * LANES } else { at * LANES };
            let channels = [
                self.scale(&planes[0][start..], factors[0]),
                self.scale(&planes[1][start..], factors[1]),
                self.scale(&planes[2][start..], factors[2]),
            ];
            for (table, third) in tables.iter().zip(output.as_chunks_mut::<LANES>().0) {
                *third = self.pick_of_three(channels, table);
            }
        }
        n_blocks * LANES
    }

    /// Sums `weight * values[index]` lane by lane for each channel, where indices are below 32 (below 64 if `REACHES_FAR`).
    #[inline(always)]
    pub(crate) fn weigh_block<const REACHES_FAR: bool, const CHANNELS: usize>(
        self,
        values: [&[f32]; CHANNELS],
        taps: &[(Indices, [f32; LANES])],
    ) -> [[f32; LANES]; CHANNELS] {
        let simd = self.0.avx512f;
        let zeros: __m512 = cast([0.0_f32; LANES]);
        let (mut near, mut far) = ([(zeros, zeros); CHANNELS], [(zeros, zeros); CHANNELS]);
        for ((near, far), values) in near.iter_mut().zip(&mut far).zip(values) {
            *near = (load(values), load(&values[LANES..]));
            if REACHES_FAR {
                *far = (load(&values[2 * LANES..]), load(&values[3 * LANES..]));
            }
        }
        let mut sums = [zeros; CHANNELS];
        for (indices, weights) in taps {
            let is_far = simd._mm512_test_epi32_mask(cast(*indices), cast([2 * LANES as u32; LANES]));
            for ((sum, near), far) in sums.iter_mut().zip(&near).zip(&far) {
                let mut picked = self.pick(near.0, indices, near.1);
                if REACHES_FAR {
                    let from_far = self.pick(far.0, indices, far.1);
                    picked = simd._mm512_mask_blend_ps(is_far, picked, from_far);
                }
                *sum = simd._mm512_add_ps(*sum, simd._mm512_mul_ps(cast(*weights), picked));
            }
        }
        let mut output = [[0.0; LANES]; CHANNELS];
        for (output, sum) in output.iter_mut().zip(sums) {
            *output = cast(sum);
        }
        output
    }

    #[inline(always)]
    fn floats(self, bytes: &[u8]) -> __m512 {
        let bytes = *bytes.first_chunk::<LANES>().expect("a third of 16 pixels");
        let simd = self.0.avx512f;
        simd._mm512_cvtepi32_ps(simd._mm512_cvtepu8_epi32(cast(bytes)))
    }

    #[inline(always)]
    fn scale(self, values: &[f32], (scale, shift): (f32, f32)) -> __m512 {
        let simd = self.0.avx512f;
        let scaled = simd._mm512_mul_ps(cast([scale; LANES]), load(values));
        simd._mm512_add_ps(scaled, cast([shift; LANES]))
    }

    /// Picks from the first two registers, then from that and the third.
    #[inline(always)]
    fn pick_of_three(self, [a, b, c]: [__m512; 3], (first, second): &(Indices, Indices)) -> [f32; LANES] {
        cast(self.pick(self.pick(a, first, b), second, c))
    }

    #[inline(always)]
    fn pick(self, low: __m512, indices: &Indices, high: __m512) -> __m512 {
        self.0.avx512f._mm512_permutex2var_ps(low, cast::<Indices, __m512i>(*indices), high)
    }
}

#[inline(always)]
fn load(values: &[f32]) -> __m512 {
    cast(*values.first_chunk::<LANES>().expect("a register's values follow"))
}
