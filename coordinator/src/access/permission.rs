//! Whether a caller may call a method at all, and for which projects.

use kindred_proto::failure::{Failure, Reason};

use super::{
    caller::{Identity, SignedIn},
    table::Who,
};
use crate::model::{Projects, access::Role};

/// Where a caller may do what a rule is about.
///
/// # Errors
/// `PERMISSION_DENIED` when nowhere, `UNAUTHENTICATED` when nobody knows who it is; `flaw` is then what was wrong with what was shown.
pub fn check(who: Who, identity: &Identity, flaw: Option<&str>) -> Result<Projects, Failure> {
    let wanted = match (who, identity) {
        (Who::Anyone, _) | (_, Identity::Open) | (Who::Node, Identity::Node { .. }) => {
            return Ok(Projects::All);
        }
        (Who::Node, Identity::User { .. } | Identity::SignedIn(_)) => {
            return Err(denied(format!("this takes {NODE}")));
        }
        (Who::Node, Identity::Nobody) => NODE,
        (Who::User(wanted), Identity::User { .. } | Identity::SignedIn(_)) => {
            return within(wanted, identity);
        }
        (Who::UserOfAll(wanted), Identity::User { .. } | Identity::SignedIn(_)) => {
            return match within(wanted, identity)? {
                Projects::All => Ok(Projects::All),
                some => Err(denied(format!(
                    "this is about all projects, and {} for {some} only",
                    yours(identity)
                ))),
            };
        }
        (Who::User(_) | Who::UserOfAll(_), Identity::Node { node_id, .. }) => {
            return Err(denied(format!(
                "this takes a user's token, and the certificate is of node {node_id}"
            )));
        }
        (Who::User(_) | Who::UserOfAll(_), Identity::Nobody) => {
            "a token: set KINDRED_TOKEN or --token-file, or sign in with `kindred login` where it has sign-in"
        }
    };
    let message = flaw.map_or_else(|| format!("this coordinator wants {wanted}"), str::to_owned);
    Err(Failure::new(Reason::Unauthenticated, message))
}

const NODE: &str =
    "the certificate of a node: start the worker with --join and what `kindred nodes join-token` prints";

fn within(wanted: Role, identity: &Identity) -> Result<Projects, Failure> {
    let projects = identity.projects_with(wanted);
    let has_any = !matches!(&projects, Projects::Only(none) if none.is_empty());
    if has_any {
        return Ok(projects);
    }
    let most = identity.grants().into_iter().map(|(role, _)| role).max();
    Err(denied(match (most, identity) {
        (Some(role), Identity::SignedIn(_)) => {
            format!("your role is {role}, and this takes {wanted}: ask an admin for it")
        }
        (Some(role), _) => {
            format!("the token's role is {role}, and this takes {wanted}: ask an admin for one")
        }
        (None, Identity::SignedIn(user)) => no_role(user),
        (None, _) => format!("this takes {wanted}"),
    }))
}

fn no_role(user: &SignedIn) -> String {
    /// A token may name hundreds.
    const SHOWN: usize = 8;
    let name = &user.name;
    let groups: Vec<_> = user.groups.iter().take(SHOWN).map(|group| format!("{group:?}")).collect();
    let more = user.groups.len().saturating_sub(SHOWN);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match groups.is_empty() {
        true => format!("{name} is in no group, as the token says, and so has no role here: ask an admin"),
        false => format!(
            "none of the groups of {name} has a role here ({}{and_more}): ask an admin",
            groups.join(", ")
        ),
    }
}

fn yours(identity: &Identity) -> &'static str {
    match identity {
        Identity::SignedIn(_) => "your role is",
        _ => "the token is",
    }
}

fn denied(message: String) -> Failure {
    Failure::new(Reason::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{access::caller::Grant, model::Timestamp};

    fn user(grants: &[(Role, &str)], groups: &[&str]) -> Identity {
        let grant = |(role, project): &(Role, &str)| Grant { role: *role, project: (*project).to_owned() };
        Identity::SignedIn(Arc::new(SignedIn {
            issuer: "https://login.example".to_owned(),
            subject: "7f3".to_owned(),
            name: "ada".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            grants: grants.iter().map(grant).collect(),
            good_until: Timestamp(0),
        }))
    }

    #[test]
    fn a_role_holds_in_its_project_and_where_more_is_asked_for_only_the_higher_one_counts() {
        let ada = user(&[(Role::Submitter, "vision"), (Role::Viewer, "speech")], &[]);
        let reads = check(Who::User(Role::Viewer), &ada, None).expect("in both");
        assert_eq!(reads.to_string(), "speech and vision");
        let submits = check(Who::User(Role::Submitter), &ada, None).expect("in one");
        assert_eq!(submits.single(), Some("vision"));
        let of_all = check(Who::UserOfAll(Role::Viewer), &ada, None).expect_err("of some only");
        assert_eq!(
            of_all.to_string(),
            "this is about all projects, and your role is for speech and vision only"
        );
        let more = check(Who::User(Role::Operator), &ada, None).expect_err("she is not");
        assert_eq!(more.to_string(), "your role is submitter, and this takes operator: ask an admin for it");
    }

    #[test]
    fn who_has_no_role_is_told_which_groups_were_looked_at() {
        for (groups, part) in [(&["a", "b"][..], "(\"a\", \"b\")"), (&[], "is in no group")] {
            let error = check(Who::User(Role::Viewer), &user(&[], groups), None).expect_err("no role");
            assert_eq!(error.reason, Reason::PermissionDenied);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn what_was_wrong_with_a_token_is_said() {
        let error =
            check(Who::User(Role::Viewer), &Identity::Nobody, Some("it expired")).expect_err("nobody");
        assert_eq!((error.reason, error.to_string()), (Reason::Unauthenticated, "it expired".to_owned()));
        let error = check(Who::Node, &Identity::Nobody, None).expect_err("nobody");
        assert!(error.to_string().contains("--join"), "{error}");
    }
}
