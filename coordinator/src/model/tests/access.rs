//! Tokens, and nodes that join.

use std::time::Duration;

use kindred_proto::failure::Reason;

use crate::model::{
    Timestamp,
    access::{ALL_PROJECTS, Access, AccessEvent, Digest, Role, Token},
};

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp(1_000_000);

fn token(role: Role, project: &str) -> Token {
    Token {
        name: "ci".to_owned(),
        role,
        project: project.to_owned(),
        digest: Digest::of(b"secret"),
        created_at: START,
        expires_at: None,
    }
}

/// Decides and, where it is allowed, lets it happen.
fn wish(access: &mut Access, now: Timestamp, event: AccessEvent) -> Result<bool, Reason> {
    let change = access.decide(now, &event).map_err(|failure| failure.reason)?;
    if let Some(change) = &change {
        access.evolve(now, change);
    }
    Ok(change.is_some())
}

fn create(access: &mut Access, id: &str, token: Token) {
    wish(access, START, AccessEvent::Create { id: id.to_owned(), token }).expect("there is room");
}

fn invite(access: &mut Access) {
    let event = AccessEvent::Invite { id: "join-1".to_owned(), digest: Digest::of(b"join"), ttl: HOUR };
    wish(access, START, event).expect("there is room");
}

fn join(secret: &[u8], node: &str, key: &[u8]) -> AccessEvent {
    AccessEvent::Join {
        id: "join-1".to_owned(),
        digest: Digest::of(secret),
        node_id: node.into(),
        key: Digest::of(key),
    }
}

#[test]
fn a_join_token_lets_one_node_in_once() {
    let mut access = Access::default();
    invite(&mut access);
    assert_eq!(wish(&mut access, START, join(b"other", "a", b"key")), Err(Reason::Unauthenticated));
    assert_eq!(wish(&mut access, START, join(b"join", "a", b"key")), Ok(true));
    assert_eq!(access.node(&"a".into()), Some(Digest::of(b"key")));
    // An answer that was lost is asked for again.
    assert_eq!(wish(&mut access, START, join(b"join", "a", b"key")), Ok(false));
    for (node, key) in [("b", "key"), ("a", "another key")] {
        let refused = wish(&mut access, START, join(b"join", node, key.as_bytes()));
        assert_eq!(refused, Err(Reason::Unauthenticated), "{node} {key}");
    }
}

#[test]
fn a_join_token_expires() {
    let mut access = Access::default();
    invite(&mut access);
    let refused = wish(&mut access, START.plus(HOUR), join(b"join", "a", b"key"));
    assert_eq!(refused, Err(Reason::Unauthenticated));
}

#[test]
fn a_join_token_does_not_take_over_a_node() {
    let mut access = Access::default();
    invite(&mut access);
    wish(&mut access, START, join(b"join", "a", b"key")).expect("the first");
    invite(&mut access);
    assert_eq!(wish(&mut access, START, join(b"join", "a", b"mine")), Err(Reason::PermissionDenied));
    wish(&mut access, START, AccessEvent::Expel { node_id: "a".into() }).expect("it joined");
    assert_eq!(wish(&mut access, START, join(b"join", "a", b"mine")), Ok(true));
}

#[test]
fn the_last_admin_stays() {
    let mut access = Access::default();
    create(&mut access, "root", token(Role::Admin, ALL_PROJECTS));
    create(&mut access, "vision", token(Role::Admin, "vision"));
    let revoke = |id: &str| AccessEvent::Revoke { id: id.to_owned() };
    assert_eq!(wish(&mut access, START, revoke("root")), Err(Reason::IllegalTransition));
    create(&mut access, "second", token(Role::Admin, ALL_PROJECTS));
    assert_eq!(wish(&mut access, START, revoke("root")), Ok(true));
    assert_eq!(wish(&mut access, START, revoke("root")), Err(Reason::TokenNotFound));
    assert!(access.has_admin(START));
}

#[test]
fn what_is_stored_holds_no_secret() {
    let mut access = Access::default();
    create(&mut access, "root", token(Role::Admin, ALL_PROJECTS));
    let text = serde_json::to_string(&access).expect("plain data");
    assert!(!text.contains("secret"), "{text}");
    let read: Access = serde_json::from_str(&text).expect("its own words");
    assert_eq!(read, access);
}

#[test]
fn a_snapshot_gives_it_back() {
    let mut access = Access::default();
    for number in 0..2500 {
        create(&mut access, &format!("token-{number}"), token(Role::Viewer, "vision"));
    }
    invite(&mut access);
    wish(&mut access, START, join(b"join", "a", b"key")).expect("the first");
    let mut again = Access::default();
    access.pieces().into_iter().for_each(|piece| again.extend(piece));
    assert_eq!(again, access);
}
