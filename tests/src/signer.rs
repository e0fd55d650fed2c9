//! Keys that sign the tokens of a provider that is a test's own.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use serde_json::{Value, json};

/// ring makes no keys of RSA; this one is everybody's, and is for tests only.
const RSA: &[u8] = include_bytes!("../data/rsa-for-tests.pk8");

/// A private key with the id under which it is published.
pub struct Signer {
    /// Its id.
    pub key_id: String,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// The key of RSA, always the same.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn rsa(key_id: &str) -> Self {
        let key = RsaKeyPair::from_pkcs8(RSA).expect("a key of RSA");
        Self { key_id: key_id.to_owned(), key: Key::Rsa(Box::new(key)) }
    }

    /// A new key on P-256.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn p256(key_id: &str) -> Self {
        let (kind, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("random numbers");
        let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).expect("its own key");
        Self { key_id: key_id.to_owned(), key: Key::P256(key) }
    }

    /// A new key of Ed25519.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn ed25519(key_id: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("random numbers");
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("its own key");
        Self { key_id: key_id.to_owned(), key: Key::Ed25519(key) }
    }

    /// Its public half, as providers publish it.
    pub fn jwk(&self) -> Value {
        let id = &self.key_id;
        match &self.key {
            Key::Rsa(key) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "kid": id, "use": "sig", "n": encode(n), "e": encode(e)})
            }
            Key::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": encode(x), "y": encode(y)})
            }
            Key::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(key.public_key())})
            }
        }
    }

    /// How it signs: for RSA the more common way.
    pub fn algorithm(&self) -> &'static str {
        match &self.key {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        }
    }

    /// A token that says this.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.key_id, "typ": "JWT"}), claims)
    }

    /// As [`Signer::token`], under any header; signed by PSS if the header says `PS256`.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match &self.key {
            Key::Rsa(key) => {
                let padding: &dyn signature::RsaEncoding = match header["alg"] == "PS256" {
                    true => &signature::RSA_PSS_SHA256,
                    false => &signature::RSA_PKCS1_SHA256,
                };
                let mut bytes = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, signed.as_bytes(), &mut bytes).expect("a key of RSA signs");
                bytes
            }
            Key::P256(key) => key.sign(&random, signed.as_bytes()).expect("random numbers").as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(signature))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
