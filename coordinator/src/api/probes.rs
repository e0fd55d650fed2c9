//! What tools ask a server: is it well (`grpc.health.v1`), and what does it serve (reflection).

use kindred_proto::{
    DESCRIPTORS,
    v1::{
        access_service_server::AccessServiceServer, agent_service_server::AgentServiceServer,
        event_service_server::EventServiceServer, job_service_server::JobServiceServer,
        join_service_server::JoinServiceServer, node_service_server::NodeServiceServer,
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

use super::{
    Error, access::AccessApi, agents::Agents, events::EventsApi, jobs::Jobs, joining::Joining, nodes::Nodes,
};

/// Services whose state is told, and the empty name that stands for the whole server.
const SERVICES: [&str; 7] = [
    "",
    <JobServiceServer<Jobs> as NamedService>::NAME,
    <NodeServiceServer<Nodes> as NamedService>::NAME,
    <EventServiceServer<EventsApi> as NamedService>::NAME,
    <AccessServiceServer<AccessApi> as NamedService>::NAME,
    <JoinServiceServer<Joining> as NamedService>::NAME,
    <AgentServiceServer<Agents> as NamedService>::NAME,
];

/// The files that describe what agents call; no business of users.
const PRIVATE_FILES: [&str; 2] = ["kindred/v1/agent_service.proto", "kindred/v1/join_service.proto"];

/// The health service, with every service serving.
pub async fn health() -> (HealthReporter, HealthServer<impl Health>) {
    let (reporter, service) = tonic_health::server::health_reporter();
    for name in SERVICES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    (reporter, service)
}

/// The health service of a coordinator that does not lead: the server is well, and serves nothing.
pub async fn health_of_follower() -> (HealthReporter, HealthServer<impl Health>) {
    let (reporter, service) = tonic_health::server::health_reporter();
    for name in SERVICES {
        let status = if name.is_empty() { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status(name, status).await;
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
    files.file.retain(|file| !PRIVATE_FILES.contains(&file.name()));
    Ok(Builder::configure()
        .register_file_descriptor_set(files)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Descriptors(error.to_string())
}
