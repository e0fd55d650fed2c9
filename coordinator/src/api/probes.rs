//! What tools ask a server: is it well (`grpc.health.v1`), and what does it serve (reflection).

use kindred_proto::{
    DESCRIPTORS,
    v1::{
        agent_service_server::AgentServiceServer, job_service_server::JobServiceServer,
        node_service_server::NodeServiceServer,
    },
};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::HealthReporter,
};
use tonic_reflection::server::{Builder, v1, v1alpha};

use super::{Error, agents::Agents, jobs::Jobs, nodes::Nodes};

/// Services whose state is told, and the empty name that stands for the whole server.
const SERVICES: [&str; 4] = [
    "",
    <JobServiceServer<Jobs> as NamedService>::NAME,
    <NodeServiceServer<Nodes> as NamedService>::NAME,
    <AgentServiceServer<Agents> as NamedService>::NAME,
];

/// The file that describes what agents call; no business of users.
const PRIVATE_FILE: &str = "kindred/v1/agent_service.proto";

/// The health service, with every service serving.
pub async fn health() -> (HealthReporter, HealthServer<impl Health>) {
    let (reporter, service) = tonic_health::server::health_reporter();
    for name in SERVICES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    (reporter, service)
}

/// Tells every watcher that the server stops, and ends their streams.
pub async fn stop(mut reporter: HealthReporter) {
    for name in SERVICES {
        reporter.set_service_status(name, ServingStatus::NotServing).await;
        reporter.clear_service_status(name).await;
    }
}

/// Reflection in the version that current tools ask for.
pub fn reflection_v1() -> Result<v1::ServerReflectionServer<impl v1::ServerReflection>, Error> {
    reflection()?.build_v1().map_err(unreadable)
}

/// Reflection in the version that older tools (Postman, grpcurl before 1.9) ask for.
pub fn reflection_v1alpha() -> Result<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>, Error>
{
    reflection()?.build_v1alpha().map_err(unreadable)
}

fn reflection() -> Result<Builder<'static>, Error> {
    let mut files = FileDescriptorSet::decode(DESCRIPTORS).map_err(unreadable)?;
    files.file.retain(|file| file.name() != PRIVATE_FILE);
    Ok(Builder::configure()
        .register_file_descriptor_set(files)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Descriptors(error.to_string())
}
