//! Packing: an image folder becomes shards in WebDataset's form.
//!
//! Which file goes into which shard follows from the folder alone, and a shard appears under its name once it is whole: a run
//! that was stopped goes on with the first shard that is missing. Files are copied as they are.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::dataset::{Labelled, labelled_files, tar};

/// Longest part of a file's own name that its key in a shard has.
const MAX_STEM_CHARS: usize = 48;

/// What is packed, and into how large shards.
#[derive(Clone, Debug)]
pub struct Pack {
    /// The image folder.
    pub source: PathBuf,
    /// The folder of the shards; made where it is missing.
    pub output: PathBuf,
    /// A shard is full once it has so many bytes.
    pub shard_bytes: u64,
}

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// All images.
    pub n_images: u64,
    /// All shards.
    pub n_shards: u64,
    /// Those of them that were there already.
    pub n_kept: u64,
    /// Classes; 0 without labels.
    pub n_classes: u64,
}

impl Pack {
    /// Writes what is missing; `progress` hears of how many of how many images are packed.
    ///
    /// # Errors
    /// The folder or file that cannot be read or written, or shards in `output` that are of something else.
    pub fn run(&self, mut progress: impl FnMut(u64, u64)) -> Result<Packed, Error> {
        let Labelled { files, classes, labels } = labelled_files(&self.source)?;
        fs::create_dir_all(&self.output).map_err(|source| Error::io(&self.output, source))?;
        let members: Vec<Members> = (0..)
            .zip(&files)
            .map(|(idx, file)| Members {
                path: self.source.join(&file.path),
                key: key(idx, &file.path),
                extension: extension(&file.path),
                size_bytes: file.size_bytes,
                label: labels.as_ref().map(|labels| labels[idx].to_string()),
            })
            .collect();
        let shards = split(&members, self.shard_bytes);
        self.refuse_others(shards.len())?;
        let (n_images, n_shards) = (members.len() as u64, shards.len() as u64);
        let mut packed = Packed { n_images, n_shards, n_kept: 0, n_classes: classes.len() as u64 };
        for (idx, range) in shards.into_iter().enumerate() {
            let (path, members) = (self.output.join(shard_name(idx)), &members[range.clone()]);
            let size_bytes = tar::END.len() as u64 + members.iter().map(Members::size_in_shard).sum::<u64>();
            if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == size_bytes) {
                packed.n_kept += 1;
            } else {
                write_shard(&path, members)?;
            }
            progress(range.end as u64, n_images);
        }
        if !classes.is_empty() {
            let path = self.output.join("classes.txt");
            fs::write(&path, classes.join("\n") + "\n").map_err(|source| Error::io(&path, source))?;
        }
        Ok(packed)
    }

    /// Refuses a folder with shards that this run would not write: they would be trained on as well.
    fn refuse_others(&self, n_shards: usize) -> Result<(), Error> {
        let ours: Vec<String> = (0..n_shards).map(shard_name).collect();
        for entry in fs::read_dir(&self.output).map_err(|source| Error::io(&self.output, source))? {
            let path = entry.map_err(|source| Error::io(&self.output, source))?.path();
            let is_ours = path.file_name().is_some_and(|name| ours.iter().any(|own| name == own.as_str()));
            if path.extension().is_some_and(|extension| extension == "tar") && !is_ours {
                return Err(Error::invalid(
                    &path,
                    "a shard of something else: name another folder, or remove it",
                ));
            }
        }
        Ok(())
    }
}

/// An image and its label, as they lie in a shard.
struct Members {
    path: PathBuf,
    key: String,
    extension: String,
    size_bytes: u64,
    label: Option<String>,
}

impl Members {
    fn size_in_shard(&self) -> u64 {
        let member = |size_bytes: u64| tar::BLOCK + size_bytes.next_multiple_of(tar::BLOCK);
        member(self.size_bytes) + self.label.as_ref().map_or(0, |label| member(label.len() as u64))
    }

    fn write(&self, shard: &mut impl Write) -> io::Result<()> {
        shard.write_all(&tar::header(&format!("{}.{}", self.key, self.extension), self.size_bytes))?;
        let copied = io::copy(&mut File::open(&self.path)?, shard)?;
        if copied != self.size_bytes {
            return Err(io::Error::other("its length has changed since the start"));
        }
        shard.write_all(tar::padding(self.size_bytes))?;
        let Some(label) = &self.label else { return Ok(()) };
        shard.write_all(&tar::header(&format!("{}.cls", self.key), label.len() as u64))?;
        shard.write_all(label.as_bytes())?;
        shard.write_all(tar::padding(label.len() as u64))
    }
}

fn shard_name(idx: usize) -> String {
    format!("shard-{idx:06}.tar")
}

/// A number, so that keys differ and keep the order, and what the file is called, so that a person finds it.
fn key(idx: usize, path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let stem = stem.chars().take(MAX_STEM_CHARS).map(|letter| if is_plain(letter) { letter } else { '_' });
    format!("{idx:08}-{}", stem.collect::<String>())
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// Fills one shard after the other.
fn split(members: &[Members], shard_bytes: u64) -> Vec<Range<usize>> {
    let (mut shards, mut start, mut size_bytes) = (Vec::new(), 0, 0);
    for (at, member) in members.iter().enumerate() {
        size_bytes += member.size_in_shard();
        if size_bytes >= shard_bytes || at + 1 == members.len() {
            shards.push(start..at + 1);
            (start, size_bytes) = (at + 1, 0);
        }
    }
    shards
}

/// Writes a shard beside its place, then renames it.
fn write_shard(path: &Path, members: &[Members]) -> Result<(), Error> {
    let part = path.with_extension("tar.part");
    let fault = |source| Error::io(&part, source);
    let mut shard = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(fault)?);
    for member in members {
        member.write(&mut shard).map_err(|source| Error::io(&member.path, source))?;
    }
    shard.write_all(&tar::END).map_err(fault)?;
    let file = shard.into_inner().map_err(|error| fault(error.into_error()))?;
    file.sync_all().map_err(fault)?;
    fs::rename(&part, path).map_err(fault)
}

#[cfg(test)]
mod tests {
    use kindred_proto::recipe::{DataKind, DataSource};

    use super::*;
    use crate::testing::{open, write_png};
    use crate::{Dataset, Split};

    /// Three classes of three images each, with names that a key cannot have.
    fn photos() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (class, at) in ["ant", "bee", "cat"].iter().flat_map(|class| (0..3).map(move |at| (class, at))) {
            fs::create_dir_all(root.path().join(class)).expect("creates");
            write_png(&root.path().join(format!("{class}/my photo {at}.v{at}.PNG")), (9, 7), at);
        }
        root
    }

    fn shards(root: &Path) -> Dataset {
        let kind = DataKind::WebDataset { train: root.to_owned(), test: None, channels: 3 };
        open(kind, Split::Train).expect("a training set is always there")
    }

    fn pack(source: &Path, output: &Path) -> Pack {
        Pack { source: source.to_owned(), output: output.to_owned(), shard_bytes: 3000 }
    }

    #[test]
    fn shards_hold_what_the_folder_held_in_its_order() {
        let (photos, output) = (photos(), tempfile::tempdir().expect("a temporary folder"));
        let mut heard = Vec::new();
        let packed = pack(photos.path(), output.path()).run(|n, of| heard.push((n, of))).expect("packs");
        assert_eq!(packed, Packed { n_images: 9, n_shards: packed.n_shards, n_kept: 0, n_classes: 3 });
        assert!(
            packed.n_shards > 1 && heard.len() as u64 == packed.n_shards && heard.last() == Some(&(9, 9))
        );
        let kind = DataKind::ImageFolder { train: photos.path().to_owned(), test: None, channels: 3 };
        let (folder, shards) = (open(kind, Split::Train).expect("opens"), shards(output.path()));
        assert_eq!((shards.len(), shards.labels()), (folder.len(), folder.labels()));
        for idx in 0..9 {
            assert_eq!(shards.image(idx).expect("decodes"), folder.image(idx).expect("decodes"));
        }
        assert_eq!(shards.name(0), "shard-000000.tar:00000000-my_photo_0_v0.png");
        let classes = fs::read_to_string(output.path().join("classes.txt")).expect("written");
        assert_eq!(classes, "ant\nbee\ncat\n");
    }

    #[test]
    fn a_run_goes_on_where_one_was_stopped() {
        let (photos, output) = (photos(), tempfile::tempdir().expect("a temporary folder"));
        let run = || pack(photos.path(), output.path()).run(|_, _| {});
        let first = run().expect("packs");
        let missing = output.path().join("shard-000001.tar");
        let content = fs::read(&missing).expect("written");
        fs::remove_file(&missing).expect("removes");
        fs::write(output.path().join("shard-000001.tar.part"), &content[..700]).expect("writes");
        assert_eq!(run().expect("goes on").n_kept, first.n_shards - 1);
        assert_eq!(fs::read(&missing).expect("written again"), content);
        assert_eq!(run().expect("has nothing to do").n_kept, first.n_shards);
    }

    #[test]
    fn shards_of_something_else_are_refused() {
        let (photos, output) = (photos(), tempfile::tempdir().expect("a temporary folder"));
        fs::write(output.path().join("other.tar"), b"").expect("writes");
        let error = pack(photos.path(), output.path()).run(|_, _| {}).expect_err("must be refused");
        assert_eq!(error.path(), Some(&*output.path().join("other.tar")));
    }

    #[test]
    fn an_epoch_of_shards_is_an_epoch_of_their_folder() {
        let (photos, output) = (photos(), tempfile::tempdir().expect("a temporary folder"));
        pack(photos.path(), output.path()).run(|_, _| {}).expect("packs");
        let epoch = |kind: DataKind| {
            let source = DataSource {
                kind,
                limit: None,
                subset: None,
                mean: vec![0.5],
                std: vec![0.5],
                max_damaged: 0.0,
            };
            let dataset =
                Dataset::open(&source, Path::new("/"), Split::Train).expect("opens").expect("train");
            let mut loader = crate::Loader::start(crate::LoaderConfig {
                dataset,
                views: vec![crate::testing::full_view(8)],
                mean: vec![0.5],
                std: vec![0.5],
                seed: 3,
                global_batch: 3,
                rank: 0,
                world_size: 1,
                start_step: 0,
                end_step: 3,
                n_threads: 2,
                prefetch_batches: 2,
            })
            .expect("starts");
            std::iter::from_fn(|| loader.next().expect("no image fails")).collect::<Vec<_>>()
        };
        let folder = DataKind::ImageFolder { train: photos.path().to_owned(), test: None, channels: 3 };
        let shards = DataKind::WebDataset { train: output.path().to_owned(), test: None, channels: 3 };
        assert_eq!(epoch(folder), epoch(shards));
    }
}
