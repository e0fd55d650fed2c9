//! Who a job belongs to.

use crate::{scope::Scope, v1};

/// The project of a job that names none, unless whoever submits it has one.
pub const DEFAULT_PROJECT: &str = "default";

/// The project of a job.
pub fn project_of(spec: &v1::JobSpec) -> &str {
    if spec.project.is_empty() { DEFAULT_PROJECT } else { &spec.project }
}

/// A name of lower-case letters, digits and inner hyphens. One that is left out stays so: it is the submitter's own.
pub(super) fn check(given: &str, at: &Scope) -> String {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if given.len() > 63 || !given.bytes().all(is_inner) || given.starts_with('-') || given.ends_with('-') {
        let shown: String = given.chars().take(64).collect();
        at.violate(
            "project",
            format!("must be 1 to 63 lower-case letters, digits and inner hyphens, not {shown:?}"),
        );
    }
    given.to_owned()
}
