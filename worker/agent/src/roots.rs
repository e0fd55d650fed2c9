//! The folders that recipes may name: a job reads its data there and nowhere else on this node.

use std::path::{Component, Path, PathBuf};

use kindred_proto::{
    recipe::{stays_in_place, store_url},
    v1::{self, data_source::Source},
};

use crate::{
    host::{Connection, Host, Pending, Started},
    rank::{self, Launch},
};

/// The folders that recipes may name.
///
/// Symbolic links are followed: whoever may make them there is this node's operator, and no recipe can.
#[derive(Clone, Debug)]
pub struct Roots(Vec<PathBuf>);

/// A path that is outside.
#[derive(Debug, thiserror::Error)]
#[error(
    "{field}: {} is outside of the folders that jobs may read on this node ({roots}): put it below one of them, or start \
     kindred-worker with --allow-root", path.display()
)]
pub struct Outside {
    /// The field of the job.
    pub field: &'static str,
    path: PathBuf,
    roots: String,
}

impl Roots {
    /// These folders and all below them.
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(folders.into_iter().filter_map(|folder| place(&folder, &folder.to_string_lossy())).collect())
    }

    /// Holds every path of a job against the folders; relative ones are below `data_root`.
    ///
    /// # Errors
    /// [`Outside`], with the field.
    pub fn check(&self, spec: &v1::JobSpec, data_root: &Path) -> Result<(), Outside> {
        for (field, given) in paths(spec) {
            let place = place(&data_root.join(given), given);
            let is_inside = |place: &PathBuf| self.0.iter().any(|root| place.starts_with(root));
            if !place.as_ref().is_some_and(is_inside) {
                let path = place.unwrap_or_else(|| given.into());
                let roots: Vec<_> = self.0.iter().map(|root| root.display().to_string()).collect();
                return Err(Outside { field, path, roots: roots.join(", ") });
            }
        }
        Ok(())
    }
}

/// What is held against the folders: a path on this machine, or `s3:/BUCKET/PREFIX`, which no absolute path is. Nothing for a URL that may
/// lead elsewhere than it looks.
fn place(path: &Path, given: &str) -> Option<PathBuf> {
    match store_url(Path::new(given)) {
        Some(url) if stays_in_place(url) => {
            Some(settled(Path::new(url.strip_prefix("file://").unwrap_or(url))))
        }
        Some(_) => None,
        None => Some(settled(path)),
    }
}

/// A path without `.` and `..`; one that climbs above the top stays there.
fn settled(path: &Path) -> PathBuf {
    let mut settled = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(settled.pop()),
            Component::CurDir => {}
            other => settled.push(other),
        }
    }
    settled
}

/// Every path that a job names, by its field.
fn paths(spec: &v1::JobSpec) -> Vec<(&'static str, &str)> {
    let trains = spec.recipe.as_ref().and_then(|recipe| recipe.data.as_ref());
    let mut paths = trains.map_or(vec![], |data| data_paths("recipe.data", data));
    if let Some(evaluate) = &spec.evaluate {
        paths.push(("evaluate.encoder", evaluate.encoder.as_str()));
        paths.extend(evaluate.data.as_ref().map_or(vec![], |data| data_paths("evaluate.data", data)));
    }
    paths
}

fn data_paths<'a>(field: &'static str, data: &'a v1::DataSource) -> Vec<(&'static str, &'a str)> {
    let root = |root: &'a Option<String>| root.as_deref().map(|root| (field, root)).into_iter().collect();
    match &data.source {
        Some(Source::FashionMnist(set)) => root(&set.root),
        Some(Source::Cifar10(set)) => root(&set.root),
        Some(Source::Cifar100(set)) => root(&set.root),
        Some(Source::Stl10(set)) => root(&set.root),
        Some(Source::ImageFolder(set)) => folders(field, &set.train, set.test.as_deref()),
        Some(Source::Webdataset(set)) => folders(field, &set.train, set.test.as_deref()),
        None => vec![],
    }
}

fn folders<'a>(field: &'static str, train: &'a str, test: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    [train].into_iter().chain(test).map(|folder| (field, folder)).collect()
}

/// A host that starts ranks only of jobs whose paths are inside.
#[derive(Debug)]
pub struct Confined<H> {
    /// What it stands on.
    pub host: H,
    /// Where jobs may read.
    pub roots: Roots,
}

impl<H: Host> Host for Confined<H> {
    fn connect(&self, address: &str) -> Pending<'static, std::io::Result<Box<dyn Connection>>> {
        self.host.connect(address)
    }

    fn start(&self, launch: &Launch) -> Result<Started, rank::Error> {
        self.roots.check(&launch.start.spec.0, &launch.start.data_root)?;
        self.host.start(launch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(train: &str, test: Option<&str>) -> v1::JobSpec {
        let set =
            v1::ImageFolder { train: train.into(), test: test.map(str::to_owned), ..Default::default() };
        let data = v1::DataSource { source: Some(Source::ImageFolder(set)), ..Default::default() };
        v1::JobSpec {
            recipe: Some(v1::Recipe { data: Some(data), ..Default::default() }),
            ..Default::default()
        }
    }

    fn check(spec: &v1::JobSpec) -> Result<(), String> {
        let roots = Roots::new(["/data".into(), "/jobs/./".into()]);
        roots.check(spec, Path::new("/data")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_below_a_root_may_be_read() {
        for inside in ["images", "/data/images", "/jobs/job-1", "a/../images", ".", "/data"] {
            assert_eq!(check(&folder(inside, None)), Ok(()), "{inside}");
        }
    }

    #[test]
    fn places_in_stores_are_read_where_they_are_allowed() {
        let shards = |train: &str| {
            let set = v1::WebDataset { train: train.into(), ..Default::default() };
            let data = v1::DataSource { source: Some(Source::Webdataset(set)), ..Default::default() };
            let recipe = v1::Recipe { data: Some(data), ..Default::default() };
            v1::JobSpec { recipe: Some(recipe), ..Default::default() }
        };
        let roots = Roots::new(["/data".into(), "s3://bucket/images".into()]);
        let check =
            |url: &str| roots.check(&shards(url), Path::new("/data")).map_err(|error| error.to_string());
        for inside in ["s3://bucket/images", "s3://bucket/images/train", "file:///data/images", "images"] {
            assert_eq!(check(inside), Ok(()), "{inside}");
        }
        for outside in [
            "s3://bucket",
            "s3://bucket/images2",
            "s3://other/images",
            "file:///etc",
            "s3://bucket/images/../x",
        ] {
            let error = check(outside).expect_err(outside);
            assert!(error.contains("recipe.data") && error.contains("--allow-root"), "{error}");
        }
        let climbs = "s3://a/../../../s3:/bucket/images";
        roots.check(&folder(climbs, None), Path::new("/data")).expect_err("a folder beside the data root");
    }

    #[test]
    fn what_climbs_out_is_named() {
        for outside in ["../etc", "/etc", "/database", "a/../../etc", "/data/../etc", "/"] {
            let error = check(&folder(outside, None)).expect_err(outside);
            assert!(error.contains("recipe.data") && error.contains("--allow-root"), "{error}");
        }
        check(&folder("images", Some("/etc"))).expect_err("the second folder counts as well");
        let encoder = v1::Evaluate { encoder: "/root/encoder.safetensors".into(), ..Default::default() };
        let error =
            check(&v1::JobSpec { evaluate: Some(encoder), ..Default::default() }).expect_err("outside");
        assert!(error.starts_with("evaluate.encoder"), "{error}");
    }
}
