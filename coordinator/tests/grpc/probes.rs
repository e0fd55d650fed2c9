//! Health and reflection.

use kindred_proto::v1;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};

use crate::fixture::Coordinator;

#[tokio::test]
async fn every_service_is_serving() {
    let coordinator = Coordinator::start().await;
    let mut health = HealthClient::new(coordinator.channel.clone());
    for service in ["", "kindred.v1.JobService", "kindred.v1.NodeService", "kindred.v1.AgentService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.expect(service).into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
}

#[tokio::test]
async fn reflection_shows_what_users_call_and_nothing_else() {
    use reflection::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let coordinator = Coordinator::start().await;
    let ask = async |message: MessageRequest| {
        let request = ServerReflectionRequest { message_request: Some(message), ..Default::default() };
        let mut client = ServerReflectionClient::new(coordinator.channel.clone());
        let mut answers =
            client.server_reflection_info(tokio_stream::once(request)).await.expect("served").into_inner();
        answers.message().await.map(|answer| answer.expect("an answer").message_response.expect("set"))
    };
    let Ok(MessageResponse::ListServicesResponse(list)) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("not a list");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(
        names.contains(&"kindred.v1.JobService") && names.contains(&"kindred.v1.NodeService"),
        "{names:?}"
    );
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("Agent")), "{names:?}");
    let symbol = |name: &str| MessageRequest::FileContainingSymbol(name.to_owned());
    assert!(matches!(ask(symbol("kindred.v1.Job")).await, Ok(MessageResponse::FileDescriptorResponse(_))));
    let hidden = ask(symbol("kindred.v1.AgentReport")).await.expect_err("not for users");
    assert_eq!(hidden.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn older_tools_are_answered_too() {
    use reflection_alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let coordinator = Coordinator::start().await;
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { message_request, ..Default::default() };
    let mut client = ServerReflectionClient::new(coordinator.channel.clone());
    let answers = client.server_reflection_info(tokio_stream::once(request)).await;
    assert!(answers.expect("served").into_inner().message().await.expect("open").is_some());
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let coordinator = Coordinator::start().await;
    let request = v1::GetJobRequest { job_id: "j".repeat(2 << 20) };
    let status = coordinator.jobs().get_job(request).await.expect_err("larger than the bound");
    assert_eq!(status.code(), tonic::Code::OutOfRange);
}
