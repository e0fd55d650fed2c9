//! Which images a subset keeps: a pure function of their labels and a seed.

use kindred_proto::recipe::{Subset, SubsetKind};

use crate::Error;
use crate::philox::{Domain, Key, Stream};

/// The images that are kept, in order. Which ones of a class, and which classes come first, the seed draws.
pub(super) fn choose(labels: &[u32], n_classes: u32, subset: &Subset) -> Result<Vec<u64>, Error> {
    let mut classes: Vec<Vec<u64>> = vec![Vec::new(); n_classes as usize];
    (0..).zip(labels).for_each(|(idx, &label)| classes[label as usize].push(idx));
    let sizes = sizes(&classes.iter().map(Vec::len).collect::<Vec<_>>(), subset)?;
    let mut kept = Vec::new();
    for ((class, mut images), size) in (0..).zip(classes).zip(sizes) {
        shuffle(&mut images, &mut stream(subset, 1 + class));
        kept.extend(images.into_iter().take(size));
    }
    kept.sort_unstable();
    Ok(kept)
}

/// How many images each class keeps at most, of the so many that each has.
fn sizes(available: &[usize], subset: &Subset) -> Result<Vec<usize>, Error> {
    let n_classes = available.len();
    let mut order: Vec<usize> = (0..n_classes).collect();
    shuffle(&mut order, &mut stream(subset, 0));
    let mut sizes = vec![0; n_classes];
    match subset.kind {
        SubsetKind::LongTail { ratio } => {
            let largest = available.iter().max().copied().unwrap_or(0);
            for (place, class) in order.into_iter().enumerate() {
                let share = ratio.powf(-(place as f64) / (n_classes.max(2) - 1) as f64);
                sizes[class] = at_least_one(largest as f64 * share);
            }
        }
        SubsetKind::LargeAndRare { n_large, n_rare, rare_size } => {
            let n_large = n_large as usize;
            let n_rare = n_rare.map_or(n_classes.saturating_sub(n_large), |n_rare| n_rare as usize);
            if n_large + n_rare > n_classes || n_rare == 0 {
                let asked = format!("a subset of {n_large} large and {} rare classes", n_rare.max(1));
                return Err(Error::Config(format!(
                    "{asked} does not fit the {n_classes} classes of the data"
                )));
            }
            order[..n_large].iter().for_each(|&class| sizes[class] = available[class]);
            order[n_large..n_large + n_rare].iter().for_each(|&class| sizes[class] = rare_size as usize);
        }
        SubsetKind::Balanced { share } => {
            let n_images: usize = available.iter().sum();
            sizes.fill(at_least_one(share * n_images as f64 / n_classes as f64));
        }
    }
    Ok(sizes)
}

fn at_least_one(size: f64) -> usize {
    size.round().max(1.0) as usize
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], stream: &mut Stream) {
    for last in (1..items.len()).rev() {
        items.swap(last, stream.below(last as u32 + 1) as usize);
    }
}

fn stream(subset: &Subset, number: u64) -> Stream {
    Stream::new(Key::of_epoch(subset.seed, 0, Domain::Subset), number, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten classes of a hundred images each, in turn.
    fn labels() -> Vec<u32> {
        (0..1000).map(|idx| idx % 10).collect()
    }

    fn chosen(kind: SubsetKind, seed: u64) -> Vec<u64> {
        choose(&labels(), 10, &Subset { kind, seed }).expect("ten classes are enough")
    }

    /// Images of each class, most first.
    fn sorted_sizes(kept: &[u64]) -> Vec<usize> {
        let mut sizes: Vec<usize> =
            (0..10).map(|class| kept.iter().filter(|&&idx| idx % 10 == class).count()).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes
    }

    fn kinds() -> [SubsetKind; 3] {
        [
            SubsetKind::LongTail { ratio: 100.0 },
            SubsetKind::LargeAndRare { n_large: 2, n_rare: Some(5), rare_size: 7 },
            SubsetKind::Balanced { share: 0.1 },
        ]
    }

    #[test]
    fn class_sizes_are_those_of_the_rule() {
        let sizes = kinds().map(|kind| sorted_sizes(&chosen(kind, 3)));
        // 100 * 100^(-r / 9), rounded.
        assert_eq!(sizes[0], [100, 60, 36, 22, 13, 8, 5, 3, 2, 1]);
        assert_eq!(sizes[1], [100, 100, 7, 7, 7, 7, 7, 0, 0, 0]);
        assert_eq!(sizes[2], [10; 10]);
        let rest = SubsetKind::LargeAndRare { n_large: 8, n_rare: None, rare_size: 3 };
        assert_eq!(sorted_sizes(&chosen(rest, 3))[7..], [100, 3, 3]);
    }

    #[test]
    fn a_subset_is_a_function_of_its_seed() {
        for kind in kinds() {
            let kept = chosen(kind.clone(), 3);
            assert!(kept.is_sorted() && kept.windows(2).all(|pair| pair[0] != pair[1]), "{kind:?}");
            assert_eq!(kept, chosen(kind.clone(), 3));
            assert_ne!(kept, chosen(kind, 4));
        }
    }

    #[test]
    fn every_image_and_every_class_is_drawn_as_often() {
        let mut counts = vec![0u32; 1000];
        let mut largest = [0u32; 10];
        for seed in 0..2000 {
            chosen(SubsetKind::Balanced { share: 0.1 }, seed)
                .iter()
                .for_each(|&idx| counts[idx as usize] += 1);
            let kept = chosen(SubsetKind::LargeAndRare { n_large: 1, n_rare: None, rare_size: 1 }, seed);
            (0..10).for_each(|class| {
                largest[class] +=
                    u32::from(kept.iter().filter(|&&idx| idx % 10 == class as u64).count() == 100);
            });
        }
        // 200 of 2,000, standard deviation 13.4.
        assert!(counts.iter().chain(&largest).all(|&count| count.abs_diff(200) < 70), "{largest:?}");
    }

    #[test]
    fn a_class_keeps_at_least_one_image_and_at_most_all() {
        assert_eq!(sorted_sizes(&chosen(SubsetKind::Balanced { share: 1e-6 }, 0)), [1; 10]);
        let few =
            choose(&[0, 0, 0, 0, 0, 0, 1], 2, &Subset { kind: SubsetKind::Balanced { share: 0.6 }, seed: 0 });
        assert_eq!(few.expect("two classes").len(), 3);
    }

    #[test]
    fn more_classes_than_there_are_is_refused() {
        let refusal = |n_large, n_rare| {
            let kind = SubsetKind::LargeAndRare { n_large, n_rare, rare_size: 1 };
            choose(&labels(), 10, &Subset { kind, seed: 0 }).expect_err("must be refused").to_string()
        };
        let fault = "a subset of 8 large and 30 rare classes does not fit the 10 classes of the data";
        assert_eq!(refusal(8, Some(30)), fault);
        let fault = "a subset of 10 large and 1 rare classes does not fit the 10 classes of the data";
        assert_eq!(refusal(10, None), fault);
    }
}
