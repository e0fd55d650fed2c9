//! The keys that a provider publishes (RFC 7517). One that cannot be used here is passed over: providers publish others beside.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use super::jws::{Algorithm, Jws, PublicKey};

/// Providers publish two or three.
const MAX_KEYS: usize = 64;
const P256_LEN: usize = 32;
const ED25519_LEN: usize = 32;

/// What a provider publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// None for all that a key of this kind can do.
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct WireKey {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is none, or holds no key that can be used.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let set: WireSet =
            serde_json::from_slice(text).map_err(|error| format!("no set of keys: {error}"))?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(read_key).take(MAX_KEYS).collect();
        match keys.is_empty() {
            true => Err("it holds no key for RS256, PS256, ES256 or EdDSA".to_owned()),
            false => Ok(Self(keys)),
        }
    }

    /// The keys that may have signed this token.
    pub fn of<'a>(&'a self, jws: &Jws<'_>) -> Vec<&'a PublicKey> {
        let (algorithm, id) = (jws.algorithm, jws.key_id.as_deref());
        let is_fit = |key: &&Key| {
            key.algorithm.is_none_or(|own| own == algorithm)
                && key.key.can(algorithm)
                && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        self.0.iter().filter(is_fit).map(|key| &key.key).collect()
    }
}

impl PublicKey {
    fn can(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }
}

fn read_key(value: Value) -> Option<Key> {
    let wire: WireKey = serde_json::from_value(value).ok()?;
    if wire.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let algorithm = match &wire.alg {
        Some(name) => Some(Algorithm::named(name)?),
        None => None,
    };
    let bytes = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let key = match (wire.kty.as_str(), wire.crv.as_deref()) {
        ("RSA", _) => PublicKey::Rsa { n: bytes(&wire.n)?, e: bytes(&wire.e)? },
        ("EC", Some("P-256")) => PublicKey::P256(point(bytes(&wire.x)?, &bytes(&wire.y)?)?),
        ("OKP", Some("Ed25519")) => {
            PublicKey::Ed25519(bytes(&wire.x).filter(|key| key.len() == ED25519_LEN)?)
        }
        _ => return None,
    };
    Some(Key { id: wire.kid, algorithm, key })
}

/// A point in its uncompressed form.
fn point(x: Vec<u8>, y: &[u8]) -> Option<Vec<u8>> {
    (x.len() == P256_LEN && y.len() == P256_LEN).then(|| [&[4], x.as_slice(), y].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let other = [
            r#"{"kty":"oct","kid":"secret","k":"AAAA"}"#,
            r#"{"kty":"RSA","kid":"a","use":"enc","n":"AQAB","e":"AQAB"}"#,
            r#"{"kty":"RSA","kid":"a","alg":"RSA-OAEP","n":"AQAB","e":"AQAB"}"#,
            r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#,
            r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
            r#"{"kid":"nothing"}"#,
            "7",
        ]
        .join(",");
        let error = KeySet::read(format!("{{\"keys\":[{other}]}}").as_bytes()).expect_err("none is left");
        assert!(error.contains("holds no key"), "{error}");
        let good = r#"{"kty":"RSA","kid":"b","use":"sig","n":"AQAB","e":"AQAB"}"#;
        let set = KeySet::read(format!("{{\"keys\":[{other},{good}]}}").as_bytes()).expect("one is left");
        assert_eq!(set.0.len(), 1);
        KeySet::read(b"[]").expect_err("no set");
    }
}
