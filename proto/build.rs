//! Compiles the contract without protoc; everything lands in `OUT_DIR`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 18] = [
    "kindred/v1/common.proto",
    "kindred/v1/data.proto",
    "kindred/v1/view.proto",
    "kindred/v1/evaluation.proto",
    "kindred/v1/method.proto",
    "kindred/v1/optimization.proto",
    "kindred/v1/recipe.proto",
    "kindred/v1/ledger.proto",
    "kindred/v1/job.proto",
    "kindred/v1/explanation.proto",
    "kindred/v1/queue.proto",
    "kindred/v1/job_service.proto",
    "kindred/v1/node.proto",
    "kindred/v1/node_service.proto",
    "kindred/v1/agent_service.proto",
    "kindred/v1/join_service.proto",
    "kindred/v1/access_service.proto",
    "kindred/v1/event_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=kindred");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("kindred.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Its `Client::connect(address)` would collide with `AgentService.Connect`.
        .build_transport(false)
        .client_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .compile_fds(descriptors)?;
    Ok(())
}
