use std::fs;
use std::path::{Path, PathBuf};

use kindred_proto::recipe::{DataKind, DataSource};

use crate::dataset::tar;
use crate::testing::write_png;
use crate::{Dataset, Error, ShardCache, Site, Split};

mod remote;

/// The content of a random image of 3x2 pixels.
fn png(seed: u64) -> Vec<u8> {
    let root = tempfile::tempdir().expect("a temporary folder");
    write_png(&root.path().join("a.png"), (3, 2), seed);
    fs::read(root.path().join("a.png")).expect("reads")
}

fn write_shard(path: &Path, members: &[(&str, &[u8])]) {
    let mut bytes = Vec::new();
    for (name, content) in members {
        bytes.extend(tar::header(name, content.len() as u64));
        bytes.extend(*content);
        bytes.extend(tar::padding(content.len() as u64));
    }
    bytes.extend(tar::END);
    fs::create_dir_all(path.parent().expect("below a folder")).expect("creates");
    fs::write(path, bytes).expect("writes");
}

fn open(root: &Path, split: Split) -> Result<Dataset, Error> {
    let kind = DataKind::WebDataset { train: "train".into(), test: Some("test".into()), channels: 3 };
    let source =
        DataSource { kind, limit: None, subset: None, mean: vec![0.5], std: vec![0.5], max_damaged: 0.001 };
    Dataset::open(&source, root, split).map(|dataset| dataset.expect("both splits are named"))
}

fn refusal(root: &Path, split: Split) -> String {
    let error = open(root, split).expect_err("must be refused").to_string();
    error.replace(&root.display().to_string(), "ROOT")
}

#[test]
fn samples_of_all_shards_are_found_in_order_with_their_labels() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let images: Vec<Vec<u8>> = (0..3).map(png).collect();
    write_shard(
        &root.path().join("train/b.tar"),
        &[("x/c.png", &images[2]), ("x/c.cls", b"0"), ("x/c.json", b"{}")],
    );
    write_shard(
        &root.path().join("train/a.tar"),
        &[
            ("a.cls", b"4\n"),
            ("a.png", &images[0]),
            ("b.v2.png", b"no image: png is not the whole extension"),
        ],
    );
    let dataset = open(root.path(), Split::Train).expect("opens");
    assert_eq!(
        (0..dataset.len()).map(|idx| dataset.name(idx)).collect::<Vec<_>>(),
        ["a.tar:a.png", "b.tar:x/c.png"]
    );
    assert_eq!((dataset.labels(), dataset.n_classes()), (Some(&[4, 0][..]), 5));
    for (idx, seed) in [(0, 0), (1, 2)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_png(&folder.path().join("a.png"), (3, 2), seed);
        assert_eq!(
            dataset.image(idx).expect("decodes"),
            crate::testing::open_folder(folder.path()).image(0).expect("decodes")
        );
    }
}

#[test]
fn the_index_is_kept_until_a_shard_changes() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (shard, kept) = (root.path().join("train/a.tar"), root.path().join("train/.kindred-index"));
    write_shard(&shard, &[("a.png", &png(0)), ("a b.png", &png(1)), ("a.cls", b"1"), ("a b.cls", b"0")]);
    let first = open(root.path(), Split::Train).expect("opens");
    let text = fs::read_to_string(&kept).expect("the index is kept");
    assert_eq!(open(root.path(), Split::Train).expect("opens").digest(), first.digest());
    // One that was altered or cut off is not believed.
    for wrong in [text.replace("a b.png", "a c.png"), text[..text.len() - 9].to_owned(), String::new()] {
        fs::write(&kept, wrong).expect("writes");
        assert_eq!(open(root.path(), Split::Train).expect("opens").digest(), first.digest());
        assert_eq!(fs::read_to_string(&kept).expect("written anew"), text);
    }
    write_shard(&shard, &[("z.png", &png(0))]);
    assert_eq!(open(root.path(), Split::Train).expect("opens").name(0), "a.tar:z.png");
}

#[test]
fn what_does_not_fit_is_named() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let advice = "a folder of shards holds .tar files";
    assert_eq!(refusal(root.path(), Split::Train), format!("ROOT/train: not found; {advice}"));
    fs::create_dir(root.path().join("train")).expect("creates");
    let found = "no KEY.jpg, KEY.jpeg or KEY.png in the 0 .tar files here";
    assert_eq!(refusal(root.path(), Split::Train), format!("ROOT/train: {found}"));
    write_shard(&root.path().join("train/a.tar"), &[("a.png", &png(0)), ("a.cls", b"cat")]);
    let found = "a.cls: not a label: a .cls member holds a number";
    assert_eq!(refusal(root.path(), Split::Train), format!("ROOT/train/a.tar: {found}"));
    write_shard(&root.path().join("train/a.tar"), &[("a.png", &png(0)), ("a.cls", b"1")]);
    write_shard(&root.path().join("test/a.tar"), &[("a.png", &png(0)), ("a.cls", b"2")]);
    assert_eq!(refusal(root.path(), Split::Test), "ROOT/test: label 2 is above those in ROOT/train");
    write_shard(&root.path().join("test/a.tar"), &[("a.png", &png(0))]);
    let found = "test shards need labels, and some images here have no .cls member";
    assert_eq!(refusal(root.path(), Split::Test), format!("ROOT/test: {found}"));
    write_shard(&root.path().join("test/a.tar"), &[("a.png", b"no image"), ("a.cls", b"1")]);
    let error = open(root.path(), Split::Test).expect("opens").image(0).expect_err("damaged");
    assert_eq!(error.path(), Some(&*PathBuf::from(root.path()).join("test/a.tar")));
    assert!(error.to_string().ends_with("a.tar: a.png: neither a JPEG nor a PNG file"), "{error}");
}
