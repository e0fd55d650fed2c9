use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kindred_proto::recipe::{DataKind, DataSource, Subset, SubsetKind};

use super::{Dataset, Split, first_difference};
use crate::Error;
use crate::testing::{idx_set, open_folder, write_png};

/// Writes a 3x2 image at each path, with folders as needed.
fn fill(root: &Path, paths: &[&str]) {
    for (seed, path) in paths.iter().enumerate() {
        fs::create_dir_all(root.join(path).parent().expect("below the root")).expect("creates");
        write_png(&root.join(path), (3, 2), seed as u64);
    }
}

fn tree(paths: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    fill(root.path(), paths);
    root
}

fn names(dataset: &Dataset) -> Vec<String> {
    (0..dataset.len()).map(|idx| dataset.name(idx)).collect()
}

fn source(root: &Path, test: Option<&str>) -> DataSource {
    let kind = DataKind::ImageFolder { train: "train".into(), test: test.map(PathBuf::from), channels: 3 };
    assert!(root.is_absolute());
    DataSource { kind, limit: None, subset: None, mean: vec![0.5], std: vec![0.5], max_damaged: 0.001 }
}

fn refusal(root: &Path, split: Split) -> Error {
    Dataset::open(&source(root, Some("test")), root, split).expect_err("must be refused")
}

#[test]
fn a_folder_is_indexed_in_order_with_labels_from_the_first_sub_folder() {
    let root = tree(&["dog/b.PNG", "dog/a.png", "cat/deep/er/z.png", "cat/a.jpeg"]);
    let dataset = open_folder(root.path());
    assert_eq!(names(&dataset), ["cat/a.jpeg", "cat/deep/er/z.png", "dog/a.png", "dog/b.PNG"]);
    assert_eq!(dataset.labels(), Some(&[0, 0, 1, 1][..]));
    assert_eq!((dataset.len(), dataset.n_classes(), dataset.channels()), (4, 2, 3));
    let image = dataset.image(0).expect("a PNG by its content");
    assert_eq!((image.width, image.height, image.channels, image.pixels.len()), (3, 2, 3, 18));
}

#[test]
fn hidden_files_and_other_files_are_skipped() {
    let root = tree(&["a.png", ".hidden.png", ".cache/b.png"]);
    fs::write(root.path().join("README.txt"), "no image").expect("writes");
    symlink("nowhere", root.path().join("broken.txt")).expect("links");
    assert_eq!(names(&open_folder(root.path())), ["a.png"]);
}

#[test]
fn an_image_outside_of_sub_folders_makes_a_folder_unlabelled() {
    let dataset = open_folder(tree(&["a.png", "cat/b.png"]).path());
    assert_eq!((dataset.labels(), dataset.n_classes()), (None, 0));
}

#[test]
fn links_are_followed_and_bad_ones_named() {
    let elsewhere = tree(&["x.png"]);
    let root = tree(&["cat/a.png"]);
    symlink(elsewhere.path(), root.path().join("dog")).expect("links");
    assert_eq!(names(&open_folder(root.path())), ["cat/a.png", "dog/x.png"]);

    let open = |root: &Path| Dataset::open(&source(root, None), root, Split::Train);
    let root = tree(&["train/a.png"]);
    symlink("nowhere.png", root.path().join("train/b.png")).expect("links");
    let error = open(root.path()).expect_err("a broken link").to_string();
    assert_eq!(error, format!("{}: broken link", root.path().join("train/b.png").display()));

    let root = tree(&["train/cat/a.png"]);
    symlink("..", root.path().join("train/cat/up")).expect("links");
    let error = open(root.path()).expect_err("a loop").to_string();
    assert_eq!(
        error,
        format!("{}: link to a folder that it lies in", root.path().join("train/cat/up").display())
    );
}

#[test]
fn test_labels_are_those_of_the_training_folder() {
    let root =
        tree(&["train/ant/1.png", "train/bee/1.png", "train/cow/1.png", "test/cow/9.png", "test/ant/9.png"]);
    let test = Dataset::open(&source(root.path(), Some("test")), root.path(), Split::Test).expect("opens");
    let test = test.expect("a test folder is named");
    assert_eq!(test.labels(), Some(&[0, 2][..]));
    assert_eq!(test.n_classes(), 3);
}

#[test]
fn without_a_test_folder_there_is_no_test_split() {
    let root = tree(&["train/a.png"]);
    let test = Dataset::open(&source(root.path(), None), root.path(), Split::Test).expect("opens");
    assert!(test.is_none());
}

#[test]
fn a_test_class_without_training_images_is_named() {
    let root = tree(&["train/ant/1.png", "test/ant/1.png", "test/bee/1.png"]);
    let error = refusal(root.path(), Split::Test);
    assert_eq!(error.path(), Some(&*root.path().join("test/bee")));
    assert!(error.to_string().contains("this class has no images in"), "{error}");
}

#[test]
fn a_test_folder_without_labels_is_refused() {
    let root = tree(&["train/ant/1.png", "test/1.png"]);
    assert_eq!(refusal(root.path(), Split::Test).path(), Some(&*root.path().join("test")));
    let root = tree(&["train/1.png", "test/ant/1.png"]);
    assert_eq!(refusal(root.path(), Split::Test).path(), Some(&*root.path().join("train")));
}

#[test]
fn a_missing_or_empty_folder_is_named() {
    let root = tree(&[]);
    let error = refusal(root.path(), Split::Train);
    assert!(matches!(&error, Error::NotFound { path, .. } if path.ends_with("train")), "{error}");
    fs::create_dir(root.path().join("train")).expect("creates");
    fs::write(root.path().join("train/notes.txt"), "no image").expect("writes");
    let error = refusal(root.path(), Split::Train).to_string();
    assert!(error.ends_with("train: no JPEG or PNG file below this folder (1 others, 0 hidden)"), "{error}");
    fs::remove_dir_all(root.path().join("train")).expect("removes");
    fs::write(root.path().join("train"), "a file").expect("writes");
    assert!(refusal(root.path(), Split::Train).to_string().ends_with("train: not a folder"));
}

#[test]
fn a_broken_or_vanished_image_is_named() {
    let root = tree(&["a.png", "b.png"]);
    let dataset = open_folder(root.path());
    fs::write(root.path().join("a.png"), b"GIF89a").expect("writes");
    let error = dataset.image(0).expect_err("not an image").to_string();
    assert_eq!(error, format!("{}: neither a JPEG nor a PNG file", root.path().join("a.png").display()));
    fs::remove_file(root.path().join("b.png")).expect("removes");
    assert!(matches!(dataset.image(1), Err(Error::NotFound { path, .. }) if path.ends_with("b.png")));
}

#[test]
fn the_digest_is_that_of_names_sizes_and_labels() {
    let paths = ["cat/a.png", "dog/b.png"];
    let (here, there) = (tree(&paths), tree(&paths));
    let (ours, theirs) = (open_folder(here.path()), open_folder(there.path()));
    assert_eq!(ours.digest(), theirs.digest());
    assert_eq!(ours.digest().len(), 64);
    write_png(&there.path().join("dog/b.png"), (30, 2), 1);
    let theirs = open_folder(there.path());
    assert_ne!(ours.digest(), theirs.digest());
    let section = first_difference(ours.section_digests(), theirs.section_digests()).expect("they differ");
    let (ours, theirs) = (ours.section_entries(section), theirs.section_entries(section));
    let at = first_difference(&ours, &theirs).expect("they differ");
    assert!(ours[at].starts_with("dog/b.png: ") && ours[at].ends_with(" bytes, label 1"), "{}", ours[at]);
}

#[test]
fn the_digest_of_idx_files_is_that_of_their_content() {
    let (three, four) = (idx_set(3, (4, 4)), idx_set(4, (4, 4)));
    assert_eq!(three.digest(), idx_set(3, (4, 4)).digest());
    assert_ne!(three.digest(), four.digest());
    assert!(four.section_entries(0)[3].starts_with("train-images-idx3-ubyte[3]: pixels "));
    assert!(four.section_entries(0)[3].ends_with(", label 3"));
    assert!(four.section_entries(1).is_empty());
}

#[test]
fn a_limit_keeps_the_first_training_images() {
    let root =
        tree(&["train/ant/1.png", "train/ant/2.png", "train/bee/1.png", "test/bee/1.png", "test/bee/2.png"]);
    let source = DataSource { limit: Some(1), ..source(root.path(), Some("test")) };
    let open = |split| Dataset::open(&source, root.path(), split).expect("opens").expect("both are there");
    let (train, test) = (open(Split::Train), open(Split::Test));
    assert_eq!(
        (names(&train), train.labels(), train.n_classes()),
        (vec!["ant/1.png".into()], Some(&[0][..]), 2)
    );
    assert_eq!((test.len(), test.labels()), (2, Some(&[1, 1][..])));
}

#[test]
fn a_subset_keeps_names_labels_and_classes_of_the_images_within_the_limit() {
    let root = tree(&[
        "train/ant/1.png",
        "train/ant/2.png",
        "train/ant/3.png",
        "train/bee/1.png",
        "train/bee/2.png",
        "train/cow/1.png",
        "test/cow/1.png",
    ]);
    let subset = Subset { kind: SubsetKind::Balanced { share: 0.4 }, seed: 1 };
    let source = DataSource { limit: Some(5), subset: Some(subset), ..source(root.path(), Some("test")) };
    let open = |split| Dataset::open(&source, root.path(), split).expect("opens").expect("all are there");
    let train = open(Split::Train);
    assert_eq!((train.len(), train.labels(), train.n_classes()), (2, Some(&[0, 1][..]), 3));
    assert!(train.name(0).starts_with("ant/") && train.name(1).starts_with("bee/"), "{:?}", names(&train));
    let at = |dataset: &Dataset, name: &str| names(dataset).iter().position(|other| other == name);
    let bank = open(Split::Bank);
    assert_eq!((bank.len(), open(Split::Test).len()), (6, 1));
    for idx in 0..2 {
        let same = at(&bank, &train.name(idx)).expect("a part of all") as u64;
        assert_eq!(train.image(idx).expect("decodes"), bank.image(same).expect("decodes"));
    }
    let other = Subset { kind: SubsetKind::Balanced { share: 0.4 }, seed: 2 };
    assert_ne!(train.digest(), bank.digest());
    assert_eq!(bank.subset(&other).expect("has labels").len(), 3);
}

#[test]
fn a_subset_needs_labels() {
    let root = tree(&["a.png", "b.png"]);
    let subset = Subset { kind: SubsetKind::LongTail { ratio: 10.0 }, seed: 0 };
    let error = open_folder(root.path()).subset(&subset).expect_err("must be refused").to_string();
    assert_eq!(error, "a subset chooses by labels, and not all of these images have one");
}
