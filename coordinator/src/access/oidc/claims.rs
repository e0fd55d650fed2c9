//! What a token whose signature holds must say, and what it then means.

use serde_json::Value;

use super::{
    flaw::{Flaw, span},
    jws::Claims,
    settings::IssuerSettings,
};
use crate::{
    access::caller::{Grant, SignedIn},
    model::Timestamp,
};

/// Names and groups are shown, logged and stored.
const MAX_TEXT: usize = 256;

/// Who it is that these claims are about, at this moment.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(claims: &Claims, settings: &IssuerSettings, now: Timestamp) -> Result<SignedIn, Flaw> {
    let good_until = check_times(claims, settings, now)?;
    check_audience(claims, settings)?;
    check_client(claims, settings)?;
    for (claim, wanted) in &settings.require {
        let found = lookup(claims, claim).ok_or_else(|| Flaw::claim(claim, "is missing"))?;
        if text_of(found).as_deref() != Some(wanted) {
            return Err(Flaw::claim(claim, format!("must be {wanted:?}, not {found}")));
        }
    }
    let subject = text(claims, "sub")?.ok_or_else(|| Flaw::claim("sub", "is missing"))?;
    // Without the name that was hoped for there is one still.
    let name = text(claims, &settings.name_claim)?.unwrap_or_else(|| subject.clone());
    let groups = groups(claims, &settings.groups_claim)?;
    let is_for_all = |rule: &&super::settings::Rule| rule.group == "*";
    let fits = |rule: &&super::settings::Rule| groups.iter().any(|group| rule.takes(group));
    let mut grants: Vec<Grant> = settings
        .rules
        .iter()
        .filter(|rule| is_for_all(rule) || fits(rule))
        .map(|rule| rule.grant.clone())
        .collect();
    grants.sort();
    grants.dedup();
    Ok(SignedIn { issuer: settings.url.clone(), subject, name, groups, grants, good_until })
}

/// Until when it is good.
fn check_times(claims: &Claims, settings: &IssuerSettings, now: Timestamp) -> Result<Timestamp, Flaw> {
    let ends =
        time(claims, "exp")?.ok_or_else(|| Flaw::claim("exp", "is missing: it must say when it ends"))?;
    let good_until = ends.plus(settings.clock_skew);
    if now >= good_until {
        return Err(Flaw::Expired { ago: span(now.0.saturating_sub(ends.0)) });
    }
    for claim in ["nbf", "iat"] {
        let Some(begins) = time(claims, claim)? else { continue };
        if now.plus(settings.clock_skew) < begins {
            return Err(Flaw::Early { wait: span(begins.0.saturating_sub(now.0)), claim });
        }
    }
    Ok(good_until)
}

fn check_audience(claims: &Claims, settings: &IssuerSettings) -> Result<(), Flaw> {
    let found: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if found.iter().any(|audience| settings.audiences.iter().any(|own| own == audience)) {
        return Ok(());
    }
    let quoted = |names: Vec<&str>| match names.is_empty() {
        true => "missing".to_owned(),
        false => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    };
    let expected = settings.audiences.iter().map(String::as_str).collect();
    Err(Flaw::Audience { found: quoted(found).chars().take(MAX_TEXT).collect(), expected: quoted(expected) })
}

/// Whoever signs in does so as our client, or as one of those that tokens are made for.
fn check_client(claims: &Claims, settings: &IssuerSettings) -> Result<(), Flaw> {
    let Some(expected) = &settings.client_id else { return Ok(()) };
    match text(claims, "azp")? {
        Some(found) if found != *expected && !settings.audiences.contains(&found) => {
            Err(Flaw::Client { found, expected: expected.clone() })
        }
        _ => Ok(()),
    }
}

/// Seconds since 1970, possibly with a fraction.
fn time(claims: &Claims, claim: &str) -> Result<Option<Timestamp>, Flaw> {
    /// A year that no clock reaches.
    const MOST: f64 = 253_402_300_800.0;
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=MOST).contains(seconds));
    let seconds = seconds.ok_or_else(|| Flaw::claim(claim, "is no time"))?;
    Ok(Some(Timestamp((seconds * 1000.0) as i64)))
}

/// A claim that is text. What somebody only says of himself is not taken for an address.
fn text(claims: &Claims, claim: &str) -> Result<Option<String>, Flaw> {
    let Some(value) = lookup(claims, claim) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| Flaw::claim(claim, "is not text"))?;
    check_address(claims, claim)?;
    readable(claim, text).map(Some)
}

fn check_address(claims: &Claims, claim: &str) -> Result<(), Flaw> {
    let is_doubtful = claims.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true));
    match claim == "email" && is_doubtful {
        true => Err(Flaw::claim(claim, "was not verified by the provider (email_verified)")),
        false => Ok(()),
    }
}

fn groups(claims: &Claims, claim: &str) -> Result<Vec<String>, Flaw> {
    check_address(claims, claim)?;
    let texts = match lookup(claims, claim) {
        None | Some(Value::Null) => vec![],
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err(Flaw::claim(claim, "is neither a list nor text")),
    };
    texts.into_iter().map(|group| readable(claim, group)).collect()
}

fn readable(claim: &str, text: &str) -> Result<String, Flaw> {
    let is_fine = !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    match is_fine {
        true => Ok(text.to_owned()),
        false => Err(Flaw::claim(claim, format!("must be 1 to {MAX_TEXT} characters that can be printed"))),
    }
}

/// A claim by its name, which may hold points, or by the way into objects.
fn lookup<'a>(claims: &'a Claims, claim: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(claim) {
        return Some(value);
    }
    let (first, rest) = claim.split_once('.')?;
    lookup(claims.get(first)?.as_object()?, rest)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}
