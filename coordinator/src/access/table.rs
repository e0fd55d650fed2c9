//! The only table of who may call which method. A method that is not in it is refused; a test holds it against the contract.

use crate::model::access::Role;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everyone: what a load balancer asks, where people sign in, and the call with which a node joins, which brings its own secret.
    Anyone,
    /// A user with at least this role.
    User(Role),
    /// As that, and with a token for all projects: what it changes is everyone's.
    UserOfAll(Role),
    /// A node that joined.
    Node,
}

/// What is known of a method before its message is read.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Package, service and method: `/kindred.v1.JobService/GetJob`.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
    /// Whether each call leaves an audit event, not only one that was refused.
    pub is_audited: bool,
    /// Whether it stays open.
    pub is_stream: bool,
}

/// The rule of a method.
pub fn rule(path: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.path == path)
}

const fn reads(path: &'static str, who: Who) -> Rule {
    Rule { path, who, is_audited: false, is_stream: false }
}

const fn streams(path: &'static str, who: Who) -> Rule {
    Rule { path, who, is_audited: false, is_stream: true }
}

const fn changes(path: &'static str, who: Who) -> Rule {
    Rule { path, who, is_audited: true, is_stream: false }
}

const VIEWER: Who = Who::User(Role::Viewer);
const SUBMITTER: Who = Who::User(Role::Submitter);
const OPERATOR_OF_ALL: Who = Who::UserOfAll(Role::Operator);
const ADMIN: Who = Who::User(Role::Admin);
const ADMIN_OF_ALL: Who = Who::UserOfAll(Role::Admin);

/// All methods.
pub const RULES: &[Rule] = &[
    changes("/kindred.v1.JobService/CreateJob", SUBMITTER),
    reads("/kindred.v1.JobService/GetJob", VIEWER),
    reads("/kindred.v1.JobService/ListJobs", VIEWER),
    reads("/kindred.v1.JobService/ExplainJob", VIEWER),
    reads("/kindred.v1.JobService/ListQueues", VIEWER),
    changes("/kindred.v1.JobService/UpdateJob", SUBMITTER),
    changes("/kindred.v1.JobService/CancelJob", SUBMITTER),
    changes("/kindred.v1.JobService/SuspendJob", SUBMITTER),
    changes("/kindred.v1.JobService/ResumeJob", SUBMITTER),
    streams("/kindred.v1.JobService/WatchJob", VIEWER),
    streams("/kindred.v1.JobService/ReadLogs", VIEWER),
    reads("/kindred.v1.JobService/ListMetrics", VIEWER),
    reads("/kindred.v1.JobService/ListCurves", VIEWER),
    reads("/kindred.v1.JobService/ListCheckpoints", VIEWER),
    reads("/kindred.v1.JobService/GetCheckpoint", VIEWER),
    changes("/kindred.v1.JobService/PinCheckpoint", SUBMITTER),
    reads("/kindred.v1.NodeService/GetNode", VIEWER),
    reads("/kindred.v1.NodeService/ListNodes", VIEWER),
    changes("/kindred.v1.NodeService/CordonNode", OPERATOR_OF_ALL),
    changes("/kindred.v1.NodeService/UncordonNode", OPERATOR_OF_ALL),
    changes("/kindred.v1.NodeService/DrainNode", OPERATOR_OF_ALL),
    reads("/kindred.v1.EventService/ListEvents", VIEWER),
    streams("/kindred.v1.EventService/WatchEvents", VIEWER),
    changes("/kindred.v1.AccessService/CreateToken", ADMIN),
    reads("/kindred.v1.AccessService/ListTokens", ADMIN),
    changes("/kindred.v1.AccessService/RevokeToken", ADMIN),
    changes("/kindred.v1.AccessService/CreateJoinToken", ADMIN_OF_ALL),
    changes("/kindred.v1.AccessService/ExpelNode", ADMIN_OF_ALL),
    reads("/kindred.v1.AccessService/ListAuditEvents", ADMIN_OF_ALL),
    reads("/kindred.v1.AccessService/GetSignIn", Who::Anyone),
    reads("/kindred.v1.AccessService/GetCaller", VIEWER),
    streams("/kindred.v1.AgentService/Connect", Who::Node),
    reads("/kindred.v1.AgentService/Store", Who::Node),
    changes("/kindred.v1.JoinService/Join", Who::Anyone),
    changes("/kindred.v1.JoinService/Renew", Who::Node),
    reads("/grpc.health.v1.Health/Check", Who::Anyone),
    streams("/grpc.health.v1.Health/Watch", Who::Anyone),
    streams("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", VIEWER),
    streams("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", VIEWER),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Path and whether it streams, of every method in these descriptors.
    fn methods(descriptors: &[u8]) -> Vec<(String, bool)> {
        let files = FileDescriptorSet::decode(descriptors).expect("built in");
        let mut methods = vec![];
        for file in &files.file {
            for service in &file.service {
                methods.extend(service.method.iter().map(|method| {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    (path, method.server_streaming() || method.client_streaming())
                }));
            }
        }
        methods
    }

    #[test]
    fn every_method_of_the_contract_has_one_rule() {
        let mut served = methods(kindred_proto::DESCRIPTORS);
        served.extend(methods(tonic_health::pb::FILE_DESCRIPTOR_SET));
        served.extend(methods(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET));
        served.extend(methods(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET));
        let served: BTreeSet<_> = served.into_iter().collect();
        let ruled: BTreeSet<_> = RULES.iter().map(|rule| (rule.path.to_owned(), rule.is_stream)).collect();
        assert_eq!(ruled, served);
        assert_eq!(ruled.len(), RULES.len(), "no method has two");
    }

    #[test]
    fn what_changes_something_is_audited_and_not_for_viewers() {
        for rule in RULES.iter().filter(|rule| rule.path.starts_with("/kindred.v1.")) {
            let (_, name) = rule.path.rsplit_once('/').expect("a path");
            let reads = ["Get", "List", "Watch", "Read", "Explain", "Connect", "Store"];
            let is_reading = reads.iter().any(|verb| name.starts_with(verb));
            assert_eq!(rule.is_audited, !is_reading, "{}", rule.path);
            assert!(is_reading || rule.who != VIEWER, "{}", rule.path);
        }
    }
}
