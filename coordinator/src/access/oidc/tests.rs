//! Every way in which a token can be wrong, with real signatures.

use std::{path::Path, time::Duration};

use kindred_tests::{issuer, signer::Signer};
use serde_json::{Value, json};

use super::{
    claims,
    flaw::Flaw,
    issuer::Issuer,
    jws::Jws,
    keys::KeySet,
    settings::{IssuerSettings, Settings},
    *,
};
use crate::access::caller::Grant;
use crate::model::access::Role;

const URL: &str = "https://login.example.org";
const NOW_S: i64 = 1_800_000_000;
const NOW: Timestamp = Timestamp(NOW_S * 1000);

fn settings(more: &str) -> IssuerSettings {
    let text = format!(
        "issuers:
- url: {URL}
  client_id: kindred
  audiences: [kindred, kindred-ci]
  grants:
  - {{group: vision, role: submitter, project: vision}}
  - {{group: 'lab/*', role: viewer, project: '*'}}
  - {{group: vision, role: submitter, project: vision}}
{more}"
    );
    let mut settings = Settings::read(&text, Path::new("/nowhere")).expect("it is valid");
    settings.issuers.remove(0)
}

/// Claims of a good token, with others over them; null takes one away.
fn claims_with(over: &Value) -> Value {
    let mut claims = json!({
        "iss": URL, "aud": "kindred", "sub": "7f3", "exp": NOW_S + 300, "iat": NOW_S, "groups": ["vision"],
    });
    for (name, value) in over.as_object().into_iter().flatten() {
        match value.is_null() {
            true => drop(claims.as_object_mut().expect("an object").remove(name)),
            false => claims[name] = value.clone(),
        }
    }
    claims
}

fn check_with(settings: &IssuerSettings, over: &Value) -> Result<SignedIn, Flaw> {
    let Value::Object(claims) = claims_with(over) else { unreachable!("it is an object") };
    claims::check(&claims, settings, NOW)
}

fn check(over: &Value) -> Result<SignedIn, Flaw> {
    check_with(&settings(""), over)
}

#[test]
fn a_good_token_says_who_it_is_and_what_may_be_done() {
    let over = json!({"groups": ["vision", "lab/a", "other"], "azp": "kindred", "nbf": NOW_S});
    let user = check(&over).expect("it is good");
    assert_eq!((user.subject.as_str(), user.name.as_str()), ("7f3", "7f3"));
    let grants = [("*", Role::Viewer), ("vision", Role::Submitter)];
    let grants = grants.map(|(project, role)| Grant { project: project.to_owned(), role });
    assert_eq!(user.grants, grants, "each once");
    assert_eq!(user.good_until, Timestamp((NOW_S + 360) * 1000), "with what clocks may differ");
    assert_eq!(user.to_string(), "user 7f3 (login.example.org)");
    for (over, part) in [(json!({"groups": null}), "none"), (json!({"groups": []}), "an empty list")] {
        assert_eq!(check(&over).expect(part).grants, [], "{part}");
    }
    let one = check(&json!({"groups": "vision", "aud": ["other", "kindred-ci"]})).expect("text, and a list");
    assert_eq!(one.groups, ["vision"]);
}

#[test]
fn names_and_groups_come_from_the_claims_that_are_named() {
    let settings = settings("  name_claim: email\n  groups_claim: realm_access.roles");
    let over = json!({
        "email": "ada@example.org", "email_verified": true, "groups": null, "realm_access": {"roles": ["vision"]},
    });
    let user = check_with(&settings, &over).expect("it is good");
    assert_eq!(user.to_string(), "user ada@example.org (7f3 at login.example.org)");
    assert_eq!(user.grants.len(), 1);
    let dotted = json!({"realm_access.roles": ["lab/a"]});
    assert_eq!(check_with(&settings, &dotted).expect("it is good").groups, ["lab/a"]);
    for doubtful in [json!(false), json!("false")] {
        let over = json!({"email": "ada@example.org", "email_verified": doubtful});
        let error = check_with(&settings, &over).expect_err("anybody may say so").to_string();
        assert_eq!(error, "the token's claim email was not verified by the provider (email_verified)");
    }
}

#[test]
fn each_mistake_has_its_sentence() {
    let cases = [
        (json!({"exp": NOW_S - 240}), "the token expired 4 min ago: sign in again"),
        (json!({"exp": NOW_S - 60}), "the token expired 60 s ago"),
        (json!({"exp": null}), "claim exp is missing"),
        (json!({"exp": "soon"}), "claim exp is no time"),
        (json!({"exp": -5}), "claim exp is no time"),
        (json!({"exp": 1e300}), "claim exp is no time"),
        (json!({"nbf": NOW_S + 600}), "good only in 10 min (nbf): is a clock wrong?"),
        (json!({"iat": NOW_S + 61}), "good only in 61 s (iat)"),
        (
            json!({"aud": "other"}),
            "audience is \"other\", and this coordinator expects \"kindred\", \"kindred-ci\"",
        ),
        (json!({"aud": ["a", "b"]}), "audience is \"a\", \"b\""),
        (json!({"aud": null}), "audience is missing"),
        (json!({"aud": 7}), "audience is missing"),
        (
            json!({"aud": ["a", "kindred"], "azp": "a"}),
            "given to client \"a\" (azp), and this coordinator expects",
        ),
        (json!({"sub": null}), "claim sub is missing"),
        (json!({"sub": 7}), "claim sub is not text"),
        (json!({"sub": ""}), "claim sub must be 1 to 256 characters"),
        (json!({"sub": "a\nb"}), "claim sub must be 1 to 256 characters"),
        (json!({"groups": {"a": 1}}), "claim groups is neither a list nor text"),
        (json!({"groups": ["a".repeat(257)]}), "claim groups must be 1 to 256 characters"),
    ];
    for (over, part) in cases {
        let error = check(&over).expect_err(part).to_string();
        assert!(error.contains(part), "{over}: {error}");
    }
    check(&json!({"exp": NOW_S - 59, "nbf": NOW_S + 60})).expect("clocks may differ by a minute");
    check(&json!({"exp": NOW_S as f64 + 0.5})).expect("a fraction is fine");
}

#[test]
fn claims_that_are_required_must_have_their_value() {
    let settings = settings("  require: {repository_owner: lab, tier: '2'}");
    check_with(&settings, &json!({"repository_owner": "lab", "tier": 2})).expect("both are there");
    for (over, part) in [
        (json!({"tier": 2}), "claim repository_owner is missing"),
        (
            json!({"repository_owner": "other", "tier": 2}),
            "claim repository_owner must be \"lab\", not \"other\"",
        ),
    ] {
        let error = check_with(&settings, &over).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// The keys of these signers.
fn published(signers: &[&Signer]) -> KeySet {
    let keys = json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()});
    KeySet::read(keys.to_string().as_bytes()).expect("all of them can be used")
}

fn holds(keys: &KeySet, token: &str) -> Result<(), Flaw> {
    let jws = Jws::read(token)?;
    let fit = keys.of(&jws);
    jws.verify(fit).map(drop)
}

#[test]
fn every_algorithm_that_is_taken_is_verified() {
    let signers = [Signer::rsa("r"), Signer::p256("p"), Signer::ed25519("e")];
    let keys = published(&signers.iter().collect::<Vec<_>>());
    let claims = claims_with(&json!({}));
    for signer in &signers {
        assert_eq!(holds(&keys, &signer.token(&claims)), Ok(()), "{}", signer.algorithm());
    }
    let pss = json!({"alg": "PS256", "kid": "r"});
    assert_eq!(holds(&keys, &signers[0].token_with(&pss, &claims)), Ok(()), "PS256");
    let unnamed = json!({"alg": "ES256"});
    assert_eq!(
        holds(&keys, &signers[1].token_with(&unnamed, &claims)),
        Ok(()),
        "a token need not name its key"
    );
}

#[test]
fn a_token_that_was_changed_or_signed_by_somebody_else_is_refused() {
    let (own, foreign) = (Signer::p256("k"), Signer::p256("k"));
    let rsa = Signer::rsa("r");
    let keys = published(&[&own, &rsa]);
    let claims = claims_with(&json!({}));
    assert_eq!(holds(&keys, &foreign.token(&claims)), Err(Flaw::Signature));
    let good = own.token(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let other = foreign.token(&claims_with(&json!({"groups": ["lab/a"]})));
    let other: Vec<&str> = other.split('.').collect();
    let changed = [
        (format!("{}.{}.{}", parts[0], other[1], parts[2]), "other claims"),
        (format!("{}.{}.{}", parts[0], parts[1], other[2]), "another signature"),
        (format!("{}.{}.", parts[0], parts[1]), "no signature"),
    ];
    for (token, what) in changed {
        assert_eq!(holds(&keys, &token), Err(Flaw::Signature), "{what}");
    }
    // The public key as a shared secret, and a key that is for something else.
    for alg in ["HS256", "none"] {
        let error = holds(&keys, &rsa.token_with(&json!({"alg": alg, "kid": "r"}), &claims));
        assert_eq!(error, Err(Flaw::Algorithm(alg.to_owned())));
    }
    let confused = own.token_with(&json!({"alg": "RS256", "kid": "k"}), &claims);
    assert_eq!(holds(&keys, &confused), Err(Flaw::Signature));
    let swapped = rsa.token_with(&json!({"alg": "PS256", "kid": "r"}), &claims);
    let header = rsa.token(&claims);
    let header = header.split('.').next().expect("a header");
    let rest = swapped.split_once('.').expect("claims and a signature").1;
    assert_eq!(holds(&keys, &format!("{header}.{rest}")), Err(Flaw::Signature), "PSS is no PKCS #1");
}

/// A provider on this machine, as one that is trusted.
fn local(issuer: &issuer::Issuer) -> IssuerSettings {
    let trusted = settings("");
    IssuerSettings { url: issuer.url.clone(), ask_again: Duration::ZERO, ..trusted }
}

/// What becomes of a token that comes with a call.
async fn shown(issuer: &Issuer, token: &str) -> Result<SignedIn, Flaw> {
    let jws = Jws::read(token)?;
    issuer.learn(&jws).await;
    issuer.verify(jws, Timestamp(i64::try_from(issuer::now_s()).expect("a time") * 1000))
}

#[tokio::test]
async fn keys_are_read_once_and_again_when_they_are_changed() {
    let provider = issuer::Issuer::start(Signer::p256("first")).await;
    let issuer = Issuer::start(local(&provider), CancellationToken::new()).expect("no authority");
    let old = provider.token(&json!({}));
    for _ in 0..20 {
        shown(&issuer, &old).await.expect("its key is published");
    }
    assert_eq!(provider.n_key_reads(), 1);
    provider.rotate(Signer::ed25519("second"));
    shown(&issuer, &provider.token(&json!({}))).await.expect("the call waits for the new key");
    let error = shown(&issuer, &old).await.expect_err("its key is published no more");
    assert!(matches!(error, Flaw::UnknownKey { .. }) && error.to_string().contains("\"first\""), "{error}");
}

#[tokio::test]
async fn tokens_of_keys_that_nobody_knows_do_not_make_us_ask_in_a_loop() {
    let provider = issuer::Issuer::start(Signer::p256("first")).await;
    let settings = IssuerSettings { ask_again: Duration::from_secs(3600), ..local(&provider) };
    let issuer = Issuer::start(settings, CancellationToken::new()).expect("no authority");
    shown(&issuer, &provider.token(&json!({}))).await.expect("its key is published");
    for made_up in 0..50 {
        let token = Signer::p256(&format!("made-up-{made_up}")).token(&json!({"iss": provider.url}));
        assert!(matches!(shown(&issuer, &token).await, Err(Flaw::UnknownKey { .. })));
    }
    assert_eq!(provider.n_key_reads(), 1);
}

#[tokio::test]
async fn keys_are_good_for_a_while_when_the_provider_is_away_and_not_for_ever() {
    let provider = issuer::Issuer::start(Signer::p256("first")).await;
    let settings = IssuerSettings { keep_keys: Duration::from_secs(3600), ..local(&provider) };
    let kept = Issuer::start(settings, CancellationToken::new()).expect("no authority");
    let settings = IssuerSettings { keep_keys: Duration::ZERO, ..local(&provider) };
    let let_go = Issuer::start(settings, CancellationToken::new()).expect("no authority");
    let token = provider.token(&json!({}));
    shown(&kept, &token).await.expect("its key is published");
    shown(&let_go, &token).await.expect_err("its keys are old at once");
    provider.be_away(true);
    shown(&kept, &token).await.expect("its key is known");
    let error = shown(&let_go, &token).await.expect_err("its keys are too old").to_string();
    assert!(error.contains("cannot be read") && error.contains("old"), "{error}");
    let error = shown(&kept, &Signer::p256("other").token(&json!({}))).await.expect_err("not known");
    assert!(matches!(error, Flaw::UnknownKey { .. }), "{error}");
    provider.be_away(false);
    provider.rotate(Signer::p256("second"));
    shown(&kept, &provider.token(&json!({}))).await.expect("the provider is back");
}

#[tokio::test]
async fn a_provider_that_is_not_the_one_is_told_from_it() {
    let provider = issuer::Issuer::start(Signer::p256("first")).await;
    let with_slash = IssuerSettings { url: format!("{}/", provider.url), ..local(&provider) };
    let issuer = Issuer::start(with_slash, CancellationToken::new()).expect("no authority");
    let error =
        shown(&issuer, &provider.token(&json!({}))).await.expect_err("it has another name").to_string();
    assert!(error.contains("write the issuer's url like that"), "{error}");
    let trusted = Settings { issuers: vec![local(&provider)] };
    let oidc = Oidc::start(&trusted).expect("no authority");
    let foreign = provider.token(&json!({"iss": "https://other.example.org"}));
    let error = oidc.verify(&foreign, NOW).expect_err("of another one").to_string();
    assert!(error.contains("other.example.org") && error.contains(&provider.url), "{error}");
}
