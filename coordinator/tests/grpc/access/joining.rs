//! Nodes that join, call, renew and are expelled.

use kindred_proto::v1::{
    self, agent_service_client::AgentServiceClient, join_service_client::JoinServiceClient,
};
use rcgen::KeyPair;
use tonic::{Code, Streaming};

use super::secured::{Node, Secured, join_request, signing_request};

async fn join(coordinator: &Secured, request: v1::JoinRequest) -> Result<v1::JoinResponse, tonic::Status> {
    let channel = coordinator.channel(None).await;
    JoinServiceClient::new(channel).join(request).await.map(tonic::Response::into_inner)
}

fn report(node_id: &str) -> v1::AgentReport {
    v1::AgentReport {
        protocol_version: 1,
        node_id: node_id.to_owned(),
        incarnation: "life-1".to_owned(),
        node_name: node_id.to_owned(),
        data_address: "127.0.0.1".to_owned(),
        ..Default::default()
    }
}

async fn connect(
    coordinator: &Secured,
    node: &Node,
    node_id: &str,
) -> Result<Streaming<v1::AgentOrders>, tonic::Status> {
    let mut agents = AgentServiceClient::new(coordinator.channel(Some(node)).await);
    // It stays open: there is no end of reports.
    let reports =
        tokio_stream::StreamExt::chain(tokio_stream::once(report(node_id)), tokio_stream::pending());
    agents.connect(reports).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_node_joins_with_a_token_and_calls_with_its_certificate() {
    let coordinator = Secured::start().await;
    let node = coordinator.node("node-a").await;
    let mut orders = connect(&coordinator, &node, "node-a").await.expect("its own name");
    assert_eq!(orders.message().await.expect("open").expect("orders").reports_seen, 1);
}

#[tokio::test]
async fn a_join_token_is_good_once() {
    let coordinator = Secured::start().await;
    let ticket = coordinator.ticket().await;
    let [first, second] = [(); 2].map(|()| KeyPair::generate().expect("a key"));
    join(&coordinator, join_request(&ticket, "node-a", &first)).await.expect("the first");
    join(&coordinator, join_request(&ticket, "node-a", &first))
        .await
        .expect("the same node, whose answer was lost");
    let status = join(&coordinator, join_request(&ticket, "node-b", &second)).await.expect_err("used");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("used before"), "{status:?}");
    let forged = v1::JoinTicket { secret: vec![0; 32], ..coordinator.ticket().await };
    let status = join(&coordinator, join_request(&forged, "node-b", &second)).await.expect_err("forged");
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_node_does_not_speak_for_another() {
    let coordinator = Secured::start().await;
    let node = coordinator.node("node-a").await;
    coordinator.node("node-b").await;
    let refused = match connect(&coordinator, &node, "node-b").await {
        Ok(mut orders) => orders.message().await.expect_err("another node's name"),
        Err(status) => status,
    };
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let mut agents = AgentServiceClient::new(coordinator.channel(Some(&node)).await);
    let store = v1::StoreRequest { node_id: "node-b".to_owned(), ..Default::default() };
    assert_eq!(agents.store(store).await.expect_err("another node's").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_certificate_is_renewed_for_the_same_key() {
    let coordinator = Secured::start().await;
    let key = KeyPair::generate().expect("a key");
    let request = join_request(&coordinator.ticket().await, "node-a", &key);
    let node = Node::new(&key, join(&coordinator, request).await.expect("new").certificate);
    let mut joins = JoinServiceClient::new(coordinator.channel(Some(&node)).await);
    let renew = |key: &KeyPair| v1::RenewRequest { signing_request: signing_request(key) };
    let renewed = joins.renew(renew(&key)).await.expect("its own key").into_inner().certificate;
    let newer = Node::new(&key, renewed);
    assert_ne!(newer.certificate, node.certificate);
    connect(&coordinator, &newer, "node-a").await.expect("the newer one is good");
    let other = KeyPair::generate().expect("a key");
    let status = joins.renew(renew(&other)).await.expect_err("another key");
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_node_that_is_expelled_is_cut_off_and_may_join_again() {
    let coordinator = Secured::start().await;
    let node = coordinator.node("node-a").await;
    let mut orders = connect(&coordinator, &node, "node-a").await.expect("its own name");
    orders.message().await.expect("open").expect("orders");
    let expel = v1::ExpelNodeRequest { node_id: "node-a".to_owned() };
    coordinator.access(&coordinator.admin).await.expel_node(expel).await.expect("it joined");
    let status = match connect(&coordinator, &node, "node-a").await {
        Ok(_) => panic!("it was let in"),
        Err(status) => status,
    };
    assert_eq!(status.code(), Code::Unauthenticated);
    let again = coordinator.node("node-a").await;
    connect(&coordinator, &again, "node-a").await.expect("it joined again");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (coordinator, other) = (Secured::start().await, Secured::start().await);
    let stranger = other.node("node-a").await;
    let tls_failed = tokio::spawn(async move {
        let channel = coordinator.channel(Some(&stranger)).await;
        AgentServiceClient::new(channel).store(v1::StoreRequest::default()).await.is_err()
    });
    // Either the connection or the first call on it fails.
    assert!(tls_failed.await.unwrap_or(true));
}
