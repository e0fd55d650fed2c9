//! `kindred-worker views`: what a job's network sees of its first images, drawn as one picture.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use kindred_data::{Dataset, Split, contact_sheet};
use kindred_proto::job_spec::{self, JobSpec};

/// Which job, and how many images.
#[derive(Clone, Debug, Args)]
pub struct Views {
    /// The job as YAML; `-` reads standard input.
    file: PathBuf,
    /// How many images to draw.
    #[arg(short, long = "images", value_name = "N", default_value_t = 8)]
    n_images: u32,
    /// The picture to write.
    #[arg(long, value_name = "FILE", default_value = "views.png")]
    png: PathBuf,
    /// Override a field, such as recipe.training.seed=3.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Relative data paths of recipes are below this folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_root: PathBuf,
}

/// Draws a row per image: the image, then its views in the recipe's order. Prints the path of the picture.
///
/// # Errors
/// When the file does not describe a job, an image cannot be read, or the picture cannot be written.
pub fn run(args: &Views) -> Result<()> {
    let recipe = read(&args.file, &args.overrides)?.recipe;
    let Some(dataset) = Dataset::open(&recipe.data, &args.data_root, Split::Train)? else {
        bail!("{}: no training images", args.file.display());
    };
    let picture = contact_sheet(&dataset, &recipe, args.n_images)?;
    fs::write(&args.png, picture).with_context(|| format!("write {}", args.png.display()))?;
    writeln!(io::stdout(), "{}", args.png.display()).context("write to standard output")
}

fn read(file: &Path, overrides: &[String]) -> Result<JobSpec> {
    let name = file.display();
    let text = match file.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(file),
    };
    let text = text.with_context(|| format!("read {name}"))?;
    let wire = job_spec::from_yaml(&text, overrides);
    wire.and_then(|wire| JobSpec::check(&wire)).with_context(|| format!("{name} does not describe a job"))
}
