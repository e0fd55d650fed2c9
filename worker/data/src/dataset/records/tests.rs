use std::fs;

use kindred_proto::recipe::DataKind;
use tempfile::TempDir;

use super::*;
use crate::Dataset;
use crate::testing::{noise, open as open_data};

/// A folder with files of so many records, each of `label` bytes and random values.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        fs::write(root.path().join(name), bytes).expect("writes");
    }
    root
}

/// Records with these label bytes before random values of `side`.
fn records(labels: &[&[u8]], side: usize, seed: u64) -> Vec<u8> {
    let record = |(at, label): (u64, &&[u8])| [label, &noise(3 * side * side, seed + at)[..]].concat();
    (0..).zip(labels).flat_map(record).collect()
}

fn cifar10() -> TempDir {
    let batch = |seed| records(&[&[3], &[9]], 32, seed);
    folder(&[
        ("data_batch_1.bin", batch(10)),
        ("data_batch_2.bin", batch(20)),
        ("data_batch_3.bin", batch(30)),
        ("data_batch_4.bin", batch(40)),
        ("data_batch_5.bin", records(&[&[0]], 32, 50)),
        ("test_batch.bin", records(&[&[7]], 32, 60)),
    ])
}

fn stl10() -> TempDir {
    folder(&[
        ("train_X.bin", records(&[&[], &[]], 96, 1)),
        ("train_y.bin", vec![1, 10]),
        ("test_X.bin", records(&[&[]], 96, 3)),
        ("test_y.bin", vec![2]),
        ("unlabeled_X.bin", records(&[&[], &[], &[]], 96, 4)),
    ])
}

fn opened(kind: DataKind, split: Split) -> Dataset {
    open_data(kind, split).expect("every split is there")
}

fn refusal(result: Result<Index, Error>) -> String {
    let error = result.err().expect("must be refused");
    let folder = error.path().and_then(Path::parent).expect("names a file").display().to_string();
    error.to_string().replace(&format!("{folder}/"), "").replace(&folder, "ROOT")
}

#[test]
fn cifar10_is_its_five_batches_with_the_label_first() {
    let root = cifar10();
    let train = opened(DataKind::Cifar10 { root: root.path().to_owned() }, Split::Train);
    assert_eq!((train.len(), train.n_classes(), train.channels()), (9, 10, 3));
    assert_eq!(train.labels(), Some(&[3, 9, 3, 9, 3, 9, 3, 9, 0][..]));
    assert_eq!((train.name(3), train.name(8)), ("data_batch_2.bin[1]".into(), "data_batch_5.bin[0]".into()));
    let (image, values) = (train.image(3).expect("reads"), noise(3072, 21));
    assert_eq!((image.width, image.height), (32, 32));
    for (at, pixel) in image.pixels.chunks(3).enumerate() {
        assert_eq!(pixel, [values[at], values[1024 + at], values[2048 + at]], "pixel {at}");
    }
    let test = opened(DataKind::Cifar10 { root: root.path().to_owned() }, Split::Test);
    assert_eq!((test.len(), test.labels(), test.n_classes()), (1, Some(&[7][..]), 10));
}

#[test]
fn cifar100_has_its_fine_labels() {
    let root = folder(&[
        ("train.bin", records(&[&[19, 99], &[0, 4]], 32, 1)),
        ("test.bin", records(&[&[3, 42]], 32, 2)),
    ]);
    let train = opened(DataKind::Cifar100 { root: root.path().to_owned() }, Split::Train);
    assert_eq!((train.labels(), train.n_classes()), (Some(&[99, 4][..]), 100));
    assert_eq!(train.image(1).expect("reads").pixels[..3], [0, 1024, 2048].map(|at| noise(3072, 2)[at]));
}

#[test]
fn stl10_runs_down_columns_and_counts_labels_from_one() {
    let root = stl10();
    let kind = DataKind::Stl10 { root: root.path().to_owned(), train: Stl10Part::Labelled };
    let train = opened(kind, Split::Train);
    assert_eq!((train.labels(), train.n_classes()), (Some(&[0, 9][..]), 10));
    let (image, values) = (train.image(1).expect("reads"), noise(3 * 96 * 96, 2));
    for (at, pixel) in image.pixels.chunks(3).enumerate() {
        let (x, y) = (at % 96, at / 96);
        let expected = [0, 1, 2].map(|channel| values[(channel * 96 + x) * 96 + y]);
        assert_eq!(pixel, expected, "pixel {x}, {y}");
    }
}

#[test]
fn stl10s_parts_share_test_images_and_bank() {
    let root = stl10();
    let len_and_labels = |train, split| {
        let dataset = opened(DataKind::Stl10 { root: root.path().to_owned(), train }, split);
        (dataset.len(), dataset.labels().map(<[u32]>::to_vec))
    };
    let known = |train| opened(DataKind::Stl10 { root: root.path().to_owned(), train }, Split::Train);
    assert_eq!(known(Stl10Part::Unlabelled).known_labels(), None);
    assert_eq!(known(Stl10Part::All).known_labels(), Some(&[0, 9][..]));
    for (part, n_images) in [(Stl10Part::Unlabelled, 3), (Stl10Part::All, 5)] {
        assert_eq!(len_and_labels(part, Split::Train), (n_images, None));
        assert_eq!(len_and_labels(part, Split::Test), (1, Some(vec![1])));
        assert_eq!(len_and_labels(part, Split::Bank), (2, Some(vec![0, 9])));
    }
}

#[test]
fn the_digest_is_that_of_values_and_labels() {
    let digest = |bytes: Vec<u8>| {
        let root = folder(&[("train.bin", bytes)]);
        opened(DataKind::Cifar100 { root: root.path().to_owned() }, Split::Train).digest().to_owned()
    };
    let base = records(&[&[0, 1], &[0, 2]], 32, 5);
    assert_eq!(digest(base.clone()), digest(base.clone()));
    for at in [1, 3000, 4000] {
        let mut other = base.clone();
        other[at] ^= 1;
        assert_ne!(digest(base.clone()), digest(other), "byte {at}");
    }
}

#[test]
fn a_file_of_the_wrong_size_is_named_with_its_fault() {
    let good = records(&[&[0, 1], &[0, 2]], 32, 5);
    let open = |bytes: &[u8]| open_cifar100(folder(&[("train.bin", bytes.to_vec())]).path(), Split::Train);
    assert_eq!(
        refusal(open(&good[..good.len() - 1])),
        "train.bin: 6147 bytes are not a whole number of images of 3074 bytes"
    );
    assert_eq!(refusal(open(&[])), "train.bin: 0 bytes are not a whole number of images of 3074 bytes");
    assert_eq!(
        refusal(open(&records(&[&[0, 1], &[0, 100]], 32, 5))),
        "train.bin: label 100 of image 1 is not between 0 and 99"
    );
}

#[test]
fn a_missing_file_says_how_to_get_it() {
    let root = cifar10();
    fs::remove_file(root.path().join("data_batch_4.bin")).expect("was there");
    let error = refusal(open_cifar10(root.path(), Split::Train));
    assert_eq!(
        error,
        "data_batch_4.bin: not found; unpack the binary version of www.cs.toronto.edu/~kriz/cifar.html so that its \
         .bin files lie in ROOT"
    );
}

#[test]
fn stl10s_labels_must_fit_its_images() {
    let cases = [
        (vec![1], "train_y.bin: 1 labels for 2 images"),
        (vec![1, 2, 3], "train_y.bin: more than 2 labels for 2 images"),
        (vec![1, 0], "train_y.bin: label 0 of image 1 is not between 1 and 10"),
        (vec![11, 1], "train_y.bin: label 11 of image 0 is not between 1 and 10"),
    ];
    for (labels, expected) in cases {
        let root = stl10();
        fs::write(root.path().join("train_y.bin"), labels).expect("writes");
        assert_eq!(refusal(open_stl10(root.path(), Stl10Part::Labelled, Split::Train)), expected);
    }
}

#[test]
fn a_file_that_shrinks_is_named() {
    let root = cifar10();
    let train = opened(DataKind::Cifar10 { root: root.path().to_owned() }, Split::Train);
    fs::write(root.path().join("data_batch_5.bin"), [0; 9]).expect("writes");
    let error = train.image(8).expect_err("the file is short now").to_string();
    assert!(error.ends_with("data_batch_5.bin: shorter than it was when it was opened"), "{error}");
}
