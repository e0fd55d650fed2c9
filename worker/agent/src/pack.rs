//! `kindred-worker pack`: shards from an image folder.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

const MEBIBYTE: u64 = 1 << 20;

/// What is packed, and where to.
#[derive(Clone, Debug, Args)]
pub struct Pack {
    /// The image folder: JPEG or PNG files at any depth; the first sub-folder's name is the label.
    source: PathBuf,
    /// The folder of the shards; made where it is missing.
    output: PathBuf,
    /// A shard is full once it has so many MiB.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    shard_mib: u64,
}

/// Writes the shards that are missing, with a bar of progress, and prints what there is.
///
/// # Errors
/// The folder or file that cannot be read or written.
pub fn run(args: &Pack) -> Result<()> {
    let pack = kindred_data::Pack {
        source: args.source.clone(),
        output: args.output.clone(),
        shard_bytes: args.shard_mib * MEBIBYTE,
    };
    let bar = ProgressBar::new(0).with_style(style()?);
    let packed = pack.run(|n_done, n_images| {
        bar.set_length(n_images);
        bar.set_position(n_done);
    });
    bar.finish_and_clear();
    let packed = packed?;
    let classes = match packed.n_classes {
        0 => "without labels".to_owned(),
        n_classes => format!("of {n_classes} classes"),
    };
    writeln!(
        io::stdout(),
        "{} images {classes} in {} shards, of which {} were there: {}",
        packed.n_images,
        packed.n_shards,
        packed.n_kept,
        args.output.display()
    )
    .context("write to standard output")
}

fn style() -> Result<ProgressStyle> {
    let template = "{bar:30} {pos}/{len} images, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).context("draw a bar")
}
