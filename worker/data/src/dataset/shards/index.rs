//! What lies where in shards, found once and kept beside them in the file `.kindred-index`.
//!
//! The file is believed while every shard has the size and the time of its last change that it had. Where the folder cannot be
//! written, each start reads the headers anew. Of shards in an object store it is kept in the node's cache; one that was put into
//! the store beside them is believed while their names and sizes are those in it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::Sample;
use crate::Error;
use crate::dataset::shown;
use crate::dataset::tar::{self, Member};

pub(super) const FILE: &str = ".kindred-index";
/// The form of the file; another one is written anew.
const HEAD: &str = "kindred shards 1";
/// Longest content of a .cls member.
const MAX_LABEL_BYTES: u64 = 32;

/// A tar file, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    /// Its name in the folder.
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
    /// When a file was changed last, in nanoseconds since 1970, or the tag of an object.
    pub(super) version: String,
}

/// All shards of a folder, sorted by name, and their images, in the order in which they lie.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) shards: Vec<Shard>,
    pub(super) samples: Vec<Sample>,
}

/// Reads the file, or the headers of all shards.
pub(super) fn open(root: &Path) -> Result<Listing, Error> {
    let shards = shards(root)?;
    if let Some(listing) = kept(root, &shards) {
        return Ok(listing);
    }
    let mut samples = Vec::new();
    for (idx, shard) in (0..).zip(&shards) {
        samples.extend(read(&root.join(&shard.path), idx)?);
    }
    let listing = Listing { shards, samples };
    keep(root, &listing);
    Ok(listing)
}

/// What the file in a folder says about these shards, if it is about them.
pub(super) fn kept(folder: &Path, shards: &[Shard]) -> Option<Listing> {
    let samples = parse(&fs::read_to_string(folder.join(FILE)).ok()?, shards, true)?;
    Some(Listing { shards: shards.to_vec(), samples })
}

/// What a file says about shards of these names and sizes.
pub(super) fn of_text(text: &str, shards: &[Shard]) -> Option<Listing> {
    Some(Listing { shards: shards.to_vec(), samples: parse(text, shards, false)? })
}

/// Writes the file, where the folder can be written.
pub(super) fn keep(folder: &Path, listing: &Listing) {
    if let Err(error) = write(folder, listing) {
        tracing::info!(folder = %folder.display(), %error, "the index of the shards is not kept");
    }
}

/// The .tar files of a folder.
fn shards(root: &Path) -> Result<Vec<Shard>, Error> {
    let mut shards = Vec::new();
    for entry in fs::read_dir(root).map_err(|source| Error::io(root, source))? {
        let path = entry.map_err(|source| Error::io(root, source))?.path();
        let (Some(name), true) =
            (path.file_name(), path.extension().is_some_and(|extension| extension == "tar"))
        else {
            continue;
        };
        let metadata = fs::metadata(&path).map_err(|source| Error::io(&path, source))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let version = modified.map_or(0, |time| time.as_nanos()).to_string();
        shards.push(Shard { path: name.into(), size_bytes: metadata.len(), version });
    }
    shards.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(shards)
}

/// The images of the shard with this number, in a file.
pub(super) fn read(path: &Path, idx: u32) -> Result<Vec<Sample>, Error> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    let members = tar::members(&file).map_err(|message| Error::invalid(path, message))?;
    let (mut samples, mut labels) = (Vec::new(), HashMap::new());
    for member in members {
        match extension(&member.name).to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" | "png" => samples.push(sample(idx, member)),
            "cls" => {
                let label = read_label(&file, &member).map_err(|message| Error::invalid(path, message))?;
                labels.insert(key(&member.name).to_owned(), label);
            }
            _ => {}
        }
    }
    samples.iter_mut().for_each(|sample| sample.label = labels.get(key(&sample.name)).copied());
    Ok(samples)
}

fn sample(shard: u32, Member { name, offset, size_bytes }: Member) -> Sample {
    Sample { name, shard, offset, size_bytes, label: None }
}

fn read_label(file: &File, member: &Member) -> Result<u32, String> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; member.size_bytes.min(MAX_LABEL_BYTES) as usize];
    file.read_exact_at(&mut bytes, member.offset).map_err(|error| format!("cannot read: {error}"))?;
    let label = String::from_utf8_lossy(&bytes).trim().parse().ok().filter(|&label| label < u32::MAX);
    label.ok_or_else(|| format!("{}: not a label: a .cls member holds a number", member.name))
}

/// Where a name's extensions begin: at the first dot behind its folders.
fn split(name: &str) -> (&str, &str) {
    let start = name.rfind('/').map_or(0, |at| at + 1);
    name[start..].find('.').map_or((name, ""), |at| (&name[..start + at], &name[start + at + 1..]))
}

/// What members of one sample share.
fn key(name: &str) -> &str {
    split(name).0
}

fn extension(name: &str) -> &str {
    split(name).1
}

/// Writes the file under another name, then renames it: ranks of one node may do that at the same time.
fn write(folder: &Path, listing: &Listing) -> std::io::Result<()> {
    let mut text = format!("{HEAD}\n");
    for shard in &listing.shards {
        let _ = writeln!(text, "shard {} {} {}", shard.size_bytes, shard.version, shown(&shard.path));
    }
    for Sample { name, shard, offset, size_bytes, label } in &listing.samples {
        let label = label.map_or("-".to_owned(), |label| label.to_string());
        let _ = writeln!(text, "{shard} {offset} {size_bytes} {label} {name}");
    }
    let _ = writeln!(text, "end {}", blake3::hash(text.as_bytes()));
    let written = folder.join(format!("{FILE}.{}", std::process::id()));
    fs::write(&written, text)?;
    fs::rename(&written, folder.join(FILE))
}

/// The images, if the file is whole and about these shards.
fn parse(text: &str, shards: &[Shard], are_versions_kept: bool) -> Option<Vec<Sample>> {
    let (content, digest) = text.trim_end_matches('\n').rsplit_once("\nend ")?;
    if blake3::hash(format!("{content}\n").as_bytes()).to_hex().as_str() != digest {
        return None;
    }
    let mut lines = content.lines();
    if lines.next()? != HEAD {
        return None;
    }
    for shard in shards {
        let (size, rest) = lines.next()?.strip_prefix("shard ")?.split_once(' ')?;
        let (version, name) = rest.split_once(' ')?;
        let is_same = size.parse() == Ok(shard.size_bytes) && name == shown(&shard.path);
        if !is_same || are_versions_kept && version != shard.version {
            return None;
        }
    }
    lines.map(|line| parse_sample(line).filter(|sample| (sample.shard as usize) < shards.len())).collect()
}

fn parse_sample(line: &str) -> Option<Sample> {
    let mut fields = line.splitn(5, ' ');
    let mut field = || fields.next();
    Some(Sample {
        shard: field()?.parse().ok()?,
        offset: field()?.parse().ok()?,
        size_bytes: field()?.parse().ok()?,
        label: match field()? {
            "-" => None,
            label => Some(label.parse().ok()?),
        },
        name: field()?.to_owned(),
    })
}
