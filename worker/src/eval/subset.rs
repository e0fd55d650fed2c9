//! Balanced parts of the training images: a pure function of labels and seed.

use kindred_data::Order;
use tch::{Device, Tensor};

use super::{Error, features::Labelled};

/// So many rows of each class that occurs, by the order that the seed gives, in ascending order of rows.
///
/// # Errors
/// When a class has fewer; the error names `setting`, which asks for them.
pub(super) fn per_class(
    all: &Labelled,
    n_classes: u32,
    n_per_class: u64,
    seed: u64,
    setting: &str,
) -> Result<Labelled, Error> {
    let mut rows = chosen(&labels_of(all), n_classes, n_per_class, seed).map_err(|(class, n_images)| {
        Error::Unfit(format!(
            "{setting} asks for {n_per_class} training images of each class, class {class} has {n_images}"
        ))
    })?;
    rows.sort_unstable();
    let rows = Tensor::from_slice(&rows).to_device(all.rows_nf.device());
    Ok(Labelled {
        rows_nf: all.rows_nf.index_select(0, &rows),
        labels_n: all.labels_n.index_select(0, &rows),
    })
}

/// How many classes occur.
pub(super) fn n_present(all: &Labelled) -> usize {
    let mut labels = labels_of(all);
    labels.sort_unstable();
    labels.dedup();
    labels.len()
}

fn labels_of(all: &Labelled) -> Vec<i64> {
    Vec::try_from(all.labels_n.to_device(Device::Cpu)).expect("a flat i64 tensor")
}

/// The rows, or the first class that has too few, and how many.
fn chosen(labels: &[i64], n_classes: u32, n_per_class: u64, seed: u64) -> Result<Vec<i64>, (usize, u64)> {
    let mut n_chosen = vec![0; n_classes as usize];
    let mut rows = Vec::new();
    let order = Order::new(labels.len() as u64, seed, 0);
    for row in (0..labels.len() as u64).map(|position| order.at(position)) {
        let n_of_class: &mut u64 = &mut n_chosen[labels[row as usize] as usize];
        if *n_of_class < n_per_class {
            *n_of_class += 1;
            rows.push(row as i64);
        }
    }
    match n_chosen.iter().position(|&n_of_class| 0 < n_of_class && n_of_class < n_per_class) {
        Some(class) => Err((class, n_chosen[class])),
        None => Ok(rows),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_class_has_as_many_rows(n in 30usize..200, n_per_class in 1u64..10, seed: u64) {
            let labels: Vec<i64> = (0..n).map(|row| (row * row % 7 % 3) as i64).collect();
            let count = |rows: &[i64], class| rows.iter().filter(|&&row| labels[row as usize] == class).count() as u64;
            let all: Vec<i64> = (0..n as i64).collect();
            match chosen(&labels, 3, n_per_class, seed) {
                Ok(rows) => {
                    prop_assert!((0..3).all(|class| count(&rows, class) == n_per_class));
                    prop_assert_eq!(chosen(&labels, 3, n_per_class, seed), Ok(rows));
                }
                Err((class, n_images)) => {
                    prop_assert_eq!(count(&all, class as i64), n_images);
                    prop_assert!(n_images < n_per_class);
                }
            }
        }
    }

    #[test]
    fn another_seed_chooses_other_rows() {
        let labels = vec![0; 100];
        assert_ne!(chosen(&labels, 1, 10, 1), chosen(&labels, 1, 10, 2));
    }
}
