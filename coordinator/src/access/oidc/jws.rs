//! Signed tokens in their compact form (RFC 7515), as far as identity providers use it.
//!
//! What a token says is handed out once its signature holds, and not before; only who is said to have issued it, and the key that is said to
//! have signed it, are needed earlier. A key is for one algorithm family, whatever a token's header says.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::flaw::Flaw;

/// What a token says.
pub type Claims = Map<String, Value>;

/// Longer ones do not fit into a call's headers either.
const MAX_LEN: usize = 16 << 10;

/// How a token is signed. There are others, and none of them is taken: not `none`, and no shared secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA (PKCS #1) with SHA-256.
    Rs256,
    /// RSA (PSS) with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// By its name in a header or key.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// Modulus and exponent, big-endian.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// A point on P-256, uncompressed.
    P256(Vec<u8>),
    /// Of Ed25519.
    Ed25519(Vec<u8>),
}

/// A token that was read, and not yet believed.
#[derive(Debug)]
pub struct Jws<'a> {
    /// How it says it is signed.
    pub algorithm: Algorithm,
    /// By which key.
    pub key_id: Option<String>,
    signed: &'a [u8],
    signature: Vec<u8>,
    claims: Claims,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// What a token may call itself; others, such as that of a log-out, say the same about somebody and mean something else.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

impl<'a> Jws<'a> {
    /// Whether a text looks like one: three parts with points between them.
    pub fn is_one(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Flaw::Malformed`] and [`Flaw::Algorithm`].
    pub fn read(text: &'a str) -> Result<Self, Flaw> {
        if text.len() > MAX_LEN {
            return Err(Flaw::Malformed("it is longer than 16 KiB"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Flaw::Malformed("it has no signature"))?;
        let (header, claims) = signed.split_once('.').ok_or(Flaw::Malformed("it has no claims"))?;
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| Flaw::Malformed("its header is none of a JWT"))?;
        if header.crit.is_some() {
            return Err(Flaw::Malformed("its header has critical extensions, and none is known"));
        }
        if header.typ.is_some_and(|typ| !TYPES.contains(&typ.to_ascii_lowercase().as_str())) {
            return Err(Flaw::Malformed("its header's type is not JWT"));
        }
        let algorithm = Algorithm::named(&header.alg);
        let algorithm = algorithm.ok_or_else(|| Flaw::Algorithm(header.alg.chars().take(32).collect()))?;
        let claims = serde_json::from_slice(&decode(claims)?)
            .map_err(|_| Flaw::Malformed("its claims are no JSON object"))?;
        let signature = decode(signature)?;
        Ok(Self { algorithm, key_id: header.kid, signed: signed.as_bytes(), signature, claims })
    }

    /// Who is said to have issued it.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// What it says, if one of these keys signed it.
    ///
    /// # Errors
    /// [`Flaw::Signature`].
    pub fn verify<'k>(self, keys: impl IntoIterator<Item = &'k PublicKey>) -> Result<Claims, Flaw> {
        match keys.into_iter().any(|key| self.holds(key)) {
            true => Ok(self.claims),
            false => Err(Flaw::Signature),
        }
    }

    fn holds(&self, key: &PublicKey) -> bool {
        let verified = match (self.algorithm, key) {
            (Algorithm::Rs256, PublicKey::Rsa { n, e }) => RsaPublicKeyComponents { n, e }.verify(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                self.signed,
                &self.signature,
            ),
            (Algorithm::Ps256, PublicKey::Rsa { n, e }) => RsaPublicKeyComponents { n, e }.verify(
                &signature::RSA_PSS_2048_8192_SHA256,
                self.signed,
                &self.signature,
            ),
            (Algorithm::Es256, PublicKey::P256(point)) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(self.signed, &self.signature)
            }
            (Algorithm::EdDsa, PublicKey::Ed25519(key)) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(self.signed, &self.signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Flaw> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Flaw::Malformed("a part of it is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8037, appendix A.4: the payload is no JSON there, so that only the signature is looked at.
    #[test]
    fn the_signature_of_a_published_example_holds() {
        let key = decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("base64url");
        let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
        let mut jws = Jws {
            algorithm: Algorithm::EdDsa,
            key_id: None,
            signed,
            signature: signature.expect("base64url"),
            claims: Claims::new(),
        };
        assert!(jws.holds(&PublicKey::Ed25519(key.clone())));
        assert!(!jws.holds(&PublicKey::P256(key.clone())), "a key is for its own algorithm");
        jws.signature[3] ^= 1;
        assert!(!jws.holds(&PublicKey::Ed25519(key)));
    }

    #[test]
    fn what_is_no_token_is_told_from_what_is_not_taken() {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let token = |header: &str| format!("{}.{}.AAAA", encode(header), encode("{}"));
        for alg in ["none", "NONE", "HS256", "RS512", "ES256K", ""] {
            let error = Jws::read(&token(&format!("{{\"alg\":\"{alg}\"}}"))).expect_err(alg);
            assert_eq!(error, Flaw::Algorithm(alg.to_owned()));
        }
        for header in [
            "",
            "[]",
            "{}",
            "{\"alg\":\"RS256\",\"crit\":[\"b64\"]}",
            "{\"alg\":\"RS256\",\"typ\":\"logout+jwt\"}",
            "{\"alg\":\"none\",\"alg\":\"RS256\"}",
        ] {
            let error = Jws::read(&token(header)).expect_err(header);
            assert!(matches!(error, Flaw::Malformed(_)), "{header}: {error}");
        }
        let fine = encode("{\"alg\":\"RS256\"}");
        let long = format!("{fine}.{}.", "A".repeat(MAX_LEN));
        for text in [format!("{fine}."), format!("{fine}.e30=.AAAA"), format!("{fine}.e30.A*"), long] {
            let error = Jws::read(&text).expect_err(&text);
            assert!(matches!(error, Flaw::Malformed(_)), "{text}: {error}");
        }
    }
}
