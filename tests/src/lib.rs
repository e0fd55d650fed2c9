//! A whole cluster on one machine, for tests.

use std::path::PathBuf;

pub mod cluster;
pub mod issuer;
pub mod logs;
pub mod moves;
pub mod postgres;
pub mod processes;
pub mod signer;

/// Path of one of the project's programs, built in the same profile as this test.
///
/// # Panics
/// When it is not built: `cargo build --workspace --bins` builds all of them.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.ancestors().nth(2).expect("tests are built into PROFILE/deps");
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not built: run cargo build --workspace --bins", path.display());
    path
}
