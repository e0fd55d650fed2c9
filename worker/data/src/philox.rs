//! Random numbers by counter: Philox4x32-10, so that any number of any stream costs the same and needs no history.
//!
//! Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); checked against the known answers of
//! the authors' library Random123.

/// What a key's numbers are for: the same seed and epoch give unrelated numbers in each domain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Domain {
    /// The order of the samples.
    Order = 1,
    /// The views of a sample.
    Views = 2,
    /// The images of a subset.
    Subset = 3,
}

/// The key of one epoch's random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u32; 2]);

impl Key {
    /// Derives the key of `epoch` from a job's seed.
    pub(crate) fn of_epoch(seed: u64, epoch: u64, domain: Domain) -> Key {
        let counter = [low(epoch), high(epoch), domain as u32, 0];
        let [first, second, ..] = philox4x32(counter, [low(seed), high(seed)]);
        Key([first, second])
    }

    /// 64 random bits at (`value`, `lane`): a pure function.
    pub(crate) fn bits(self, value: u64, lane: u32) -> u64 {
        let [first, second, ..] = philox4x32([low(value), high(value), lane, 0], self.0);
        u64::from(first) | u64::from(second) << 32
    }
}

/// A stream of random numbers, named by (key, sample, lane).
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    key: Key,
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Stream {
    /// Opens the stream of one sample; streams of different lanes are independent.
    pub(crate) fn new(key: Key, sample: u64, lane: u32) -> Stream {
        Stream { key, counter: [0, lane, low(sample), high(sample)], block: [0; 4], used: 4 }
    }

    /// Draws 32 bits.
    pub(crate) fn bits(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block = philox4x32(self.counter, self.key.0);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Draws a number in [0, 1) with 53 random bits.
    pub(crate) fn unit(&mut self) -> f64 {
        let bits = u64::from(self.bits()) << 32 | u64::from(self.bits());
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws a number in [`min`, `max`).
    pub(crate) fn uniform(&mut self, min: f64, max: f64) -> f64 {
        min + (max - min) * self.unit()
    }

    /// Draws a whole number in [0, `n`); its bias is below n / 2^32.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(n)) >> 32) as u32
    }

    /// Draws true with `probability`: never at 0, always at 1.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// The block function: ten rounds.
fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let left = 0xD251_1F53 * u64::from(counter[0]);
        let right = 0xCD9E_8D57 * u64::from(counter[2]);
        counter =
            [high(right) ^ counter[1] ^ key[0], low(right), high(left) ^ counter[3] ^ key[1], low(left)];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answers_of_random123_come_out() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn every_part_of_a_streams_name_changes_it() {
        let first = |seed, epoch, domain, sample, lane| {
            Stream::new(Key::of_epoch(seed, epoch, domain), sample, lane).unit()
        };
        let base = first(1, 2, Domain::Views, 3, 4);
        assert_eq!(base, first(1, 2, Domain::Views, 3, 4));
        for other in [
            first(9, 2, Domain::Views, 3, 4),
            first(1 << 32 | 1, 2, Domain::Views, 3, 4),
            first(1, 9, Domain::Views, 3, 4),
            first(1, 2, Domain::Order, 3, 4),
            first(1, 2, Domain::Views, 9, 4),
            first(1, 2, Domain::Views, 1 << 32 | 3, 4),
            first(1, 2, Domain::Views, 3, 9),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn draws_have_the_moments_of_a_uniform_distribution() {
        let mut stream = Stream::new(Key::of_epoch(7, 0, Domain::Views), 0, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| stream.unit()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.005, "mean {mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.002, "variance {variance}");
    }

    #[test]
    fn whole_numbers_below_n_are_equally_frequent() {
        let mut stream = Stream::new(Key::of_epoch(7, 0, Domain::Views), 1, 0);
        let mut counts = [0u32; 5];
        (0..50_000).for_each(|_| counts[stream.below(5) as usize] += 1);
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 450), "{counts:?}");
    }

    #[test]
    fn chance_never_happens_at_zero_and_always_at_one() {
        let mut stream = Stream::new(Key::of_epoch(7, 0, Domain::Views), 2, 0);
        assert!((0..10_000).all(|_| !stream.chance(0.0) && stream.chance(1.0)));
    }
}
