//! The example jobs.

use kindred_proto::job_spec::{self, AnySpec};

use crate::sources::{assert_none, sources};

#[test]
fn every_example_job_is_accepted() {
    let refused: Vec<String> = sources(|path| path.starts_with("deploy/jobs/"))
        .iter()
        .filter_map(|source| {
            let wire = job_spec::from_yaml(&source.text, &[]);
            let error = wire.and_then(|wire| AnySpec::check(&wire)).err()?;
            Some(format!("{}: {error}", source.path))
        })
        .collect();
    assert_none("an example that is refused teaches nothing", &refused);
}
