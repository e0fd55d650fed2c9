//! Writes the run path of libtorch into the binaries and tests of this crate: torch-sys leaves none.

fn main() {
    let lib = std::env::var("DEP_KINDRED_BRIDGE_LIBTORCH_LIB").expect("kindred-bridge exports libtorch_lib");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    println!("cargo::rerun-if-changed=build.rs");
}
