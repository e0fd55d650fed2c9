//! Who may depend on whom, as cargo sees it, and what the built programs load.

use std::process::Command;

use crate::sources::root;

/// Deeper than any tree is.
const DEEPEST: usize = 1000;

/// Names of all crates in the tree of `package`, build and development dependencies left out.
fn tree_of(package: &str, depth: usize) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package, "--depth", &depth.to_string()])
        .current_dir(root())
        .output()
        .expect("cargo runs where its tests run");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .expect("crate names are UTF-8")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn assert_without(package: &str, unwanted: &[&str]) {
    let tree = tree_of(package, DEEPEST);
    assert!(tree.iter().any(|name| name == package), "{package} has a tree");
    for name in unwanted {
        assert!(!tree.iter().any(|found| found == name), "{package} depends on {name}");
    }
}

const TORCH: [&str; 3] = ["tch", "torch-sys", "kindred-bridge"];

#[test]
fn coordinator_and_command_line_never_link_libtorch() {
    assert_without("kindred-coordinator", &TORCH);
    assert_without(
        "kindred-coordinator",
        &["kindred-worker", "kindred-agent", "kindred-ipc", "kindred-data"],
    );
}

#[test]
fn w2_the_agent_never_loads_libtorch() {
    assert_without("kindred-agent", &TORCH);
    assert_without("kindred-agent", &["kindred-worker", "kindred-coordinator"]);
}

#[test]
fn the_rank_never_speaks_grpc() {
    assert_without("kindred-worker", &["tonic", "kindred-coordinator", "kindred-agent"]);
}

#[test]
fn the_contract_stands_alone() {
    assert_without("kindred-proto", &["tokio", "tonic", "tch"]);
    assert_without("kindred-ipc", &["tonic", "tch", "tokio"]);
    assert_without("kindred-store", &["tonic", "tch", "torch-sys", "kindred-proto"]);
    assert_without("kindred-data", &["tch", "torch-sys", "tonic"]);
    // What is async in it is the business of kindred-store.
    assert!(!tree_of("kindred-data", 1).iter().any(|name| name == "tokio"), "kindred-data uses tokio itself");
}

#[test]
fn the_agents_program_names_no_torch_library() {
    let program = kindred_tests::program("kindred-worker");
    let output =
        Command::new("readelf").arg("-d").arg(&program).output().expect("binutils come with the compiler");
    assert!(output.status.success(), "readelf -d {}", program.display());
    let needed = String::from_utf8_lossy(&output.stdout);
    assert!(needed.contains("libc.so"), "{needed}");
    assert!(!needed.contains("torch") && !needed.contains("libc10"), "{needed}");
}
