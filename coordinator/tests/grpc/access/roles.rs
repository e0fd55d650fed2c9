//! Every method, called by everyone.

use kindred_coordinator::{
    access::table::{self, Who},
    model::access::Role,
};
use kindred_proto::v1;
use kindred_tests::{issuer::Issuer, signer::Signer};
use serde_json::json;
use tonic::Code;

use super::{
    raw::{self, Method, call},
    secured::Secured,
    sign_in,
};

/// What a load balancer asks, from which it learns nothing, and where people sign in.
const OPEN: [&str; 3] =
    ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", "/kindred.v1.AccessService/GetSignIn"];

async fn methods(coordinator: &Secured) -> Vec<Method> {
    let methods = raw::methods(coordinator.link(&coordinator.admin).await).await;
    assert!(methods.len() >= 25, "{methods:?}");
    methods
}

#[tokio::test]
async fn nobody_calls_anything_without_a_token() {
    let coordinator = Secured::start().await;
    let channel = coordinator.channel(None).await;
    for method in methods(&coordinator).await {
        let answer = call(channel.clone(), &method, vec![vec![]]).await;
        match method.path.as_str() {
            open if OPEN.contains(&open) => assert_eq!(answer.code(), Code::Ok, "{answer:?}"),
            // It brings a secret of its own; without one it is no request.
            "/kindred.v1.JoinService/Join" => assert_eq!(answer.code(), Code::InvalidArgument, "{answer:?}"),
            path => assert_eq!(answer.code(), Code::Unauthenticated, "{path}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_that_is_wrong_is_none() {
    let coordinator = Secured::start().await;
    let good = coordinator.admin.clone();
    let (head, _) = good.rsplit_once('_').expect("its secret comes last");
    let forged = format!("{head}_{}", "A".repeat(43));
    for wrong in ["", "kindred", &forged, &good[..good.len() - 1], &good.to_uppercase()] {
        let request = v1::ListJobsRequest::default();
        let status = coordinator.jobs(wrong).await.list_jobs(request).await.expect_err(wrong);
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    }
    coordinator.jobs(&good).await.list_jobs(v1::ListJobsRequest::default()).await.expect("the right one");
}

/// Whether a caller with this role, for all projects or one, may call what takes `who`.
fn may(role: Role, is_for_all: bool, who: Who) -> bool {
    match who {
        Who::Anyone => true,
        Who::User(wanted) => role >= wanted,
        Who::UserOfAll(wanted) => role >= wanted && is_for_all,
        Who::Node => false,
    }
}

#[tokio::test]
async fn each_role_calls_what_it_may_and_nothing_else() {
    let coordinator = Secured::start().await;
    let methods = methods(&coordinator).await;
    for (role, wire) in ROLES {
        for project in ["*", "vision"] {
            let token = coordinator.token(wire, project).await.secret;
            calls_what_it_may(&coordinator, &methods, &token, role, project).await;
        }
    }
}

const ROLES: [(Role, v1::Role); 4] = [
    (Role::Viewer, v1::Role::Viewer),
    (Role::Submitter, v1::Role::Submitter),
    (Role::Operator, v1::Role::Operator),
    (Role::Admin, v1::Role::Admin),
];

async fn calls_what_it_may(
    coordinator: &Secured,
    methods: &[Method],
    token: &str,
    role: Role,
    project: &str,
) {
    let link = coordinator.link(token).await;
    for method in methods {
        let rule = table::rule(&method.path).expect("every method has one");
        let code = call(link.clone(), method, vec![vec![]]).await.code();
        let is_refused = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
        // Without its secret joining is refused, whoever calls.
        let may = may(role, project == "*", rule.who);
        assert_eq!(!is_refused, may, "{role} of {project}: {}: {code:?}", method.path);
    }
}

#[tokio::test]
async fn each_role_of_a_group_calls_what_it_may_and_nothing_else() {
    let provider = Issuer::start(Signer::p256("k")).await;
    let coordinator = Secured::start_with(Some(sign_in::trusting(&provider))).await;
    let methods = methods(&coordinator).await;
    for (role, _) in ROLES {
        for (project, of) in [("*", "all"), ("vision", "vision")] {
            let group = format!("{role}-of-{of}");
            let token = provider.token(&json!({"sub": group, "groups": [group]}));
            calls_what_it_may(&coordinator, &methods, &token, role, project).await;
        }
    }
    let stranger = coordinator.link(&provider.token(&json!({"groups": ["others"]}))).await;
    for method in &methods {
        let code = call(stranger.clone(), method, vec![vec![]]).await.code();
        let is_open = table::rule(&method.path).expect("every method has one").who == Who::Anyone;
        assert_eq!(code != Code::PermissionDenied, is_open, "{}: {code:?}", method.path);
    }
}

#[tokio::test]
async fn a_node_calls_what_agents_call_and_nothing_else() {
    let coordinator = Secured::start().await;
    let methods = methods(&coordinator).await;
    let node = coordinator.node("node-a").await;
    let channel = coordinator.channel(Some(&node)).await;
    for method in &methods {
        let code = call(channel.clone(), method, vec![vec![]]).await.code();
        let who = table::rule(&method.path).expect("every method has one").who;
        let is_refused = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
        // An empty message is of no node, and so not of this one.
        let names_a_node = method.path.starts_with("/kindred.v1.AgentService/");
        let is_for_nodes = matches!(who, Who::Node | Who::Anyone) && !names_a_node;
        assert_eq!(!is_refused, is_for_nodes, "{}: {code:?}", method.path);
    }
}

#[test]
fn the_methods_that_matter_most_take_what_they_should() {
    for (path, who) in [
        ("/kindred.v1.JobService/CreateJob", Who::User(Role::Submitter)),
        ("/kindred.v1.JobService/CancelJob", Who::User(Role::Submitter)),
        ("/kindred.v1.JobService/GetJob", Who::User(Role::Viewer)),
        ("/kindred.v1.NodeService/DrainNode", Who::UserOfAll(Role::Operator)),
        ("/kindred.v1.AccessService/CreateToken", Who::User(Role::Admin)),
        ("/kindred.v1.AccessService/CreateJoinToken", Who::UserOfAll(Role::Admin)),
        ("/kindred.v1.AccessService/ListAuditEvents", Who::UserOfAll(Role::Admin)),
        ("/kindred.v1.AgentService/Connect", Who::Node),
        ("/kindred.v1.AgentService/Store", Who::Node),
    ] {
        assert_eq!(table::rule(path).expect("it is in the table").who, who, "{path}");
    }
}
