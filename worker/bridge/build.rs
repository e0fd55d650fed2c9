//! Compiles the C++ half of the bridge and tells everyone who links it where libtorch's libraries are.

use std::env;
use std::path::{Path, PathBuf};

const SOURCES: [&str; 9] =
    ["errors", "store", "abortable_gloo", "group", "autograd", "reducer", "autocast", "optim", "memory"];

fn main() {
    // torch-sys exports the folder that it linked from, whichever way it found it (LIBTORCH, LIBTORCH_LIB, the system).
    let lib = PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys exports libtorch_lib"));
    let lib = std::path::absolute(lib).expect("the path of libtorch is not empty");
    compile(&include_folder(&lib));
    link(&lib);
    println!("cargo::metadata=libtorch_lib={}", lib.display());
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cpp");
}

/// Returns the folder of libtorch's headers: beside `lib`, unless `LIBTORCH_INCLUDE` says otherwise, as torch-sys has it.
fn include_folder(lib: &Path) -> PathBuf {
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    let root = env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from);
    root.unwrap_or_else(|| lib.parent().expect("lib is a folder in a folder").to_path_buf()).join("include")
}

fn compile(include: &Path) {
    let mut build = cxx_build::bridge("src/ffi.rs");
    build
        .std("c++20")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .define("USE_C10D_GLOO", None)
        .include("cpp")
        .flag(format!("-isystem{}", include.display()))
        .flag(format!("-isystem{}", include.join("torch/csrc/api/include").display()))
        .flag("-isystemcpp/gloo_stubs")
        .files(SOURCES.map(|name| format!("cpp/{name}.cpp")));
    if has_cuda() {
        build.define("KINDRED_CUDA", None).define("USE_CUDA", None).define("USE_C10D_NCCL", None);
        build.flag(format!("-isystem{}", include.join("cccl").display()));
    }
    build.compile("kindred_bridge");
}

fn link(lib: &Path) {
    println!("cargo::rustc-link-search=native={}", lib.display());
    // Not `torch`: the wheel's libtorch.so needs libtorch_cuda.so, which the CPU profile does not have.
    let libraries: &[&str] = if has_cuda() {
        &["torch_cuda", "c10_cuda", "nccl", "cudart", "torch_cpu", "c10"]
    } else {
        &["torch_cpu", "c10"]
    };
    for library in libraries {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
}

fn has_cuda() -> bool {
    env::var_os("CARGO_FEATURE_CUDA").is_some()
}
