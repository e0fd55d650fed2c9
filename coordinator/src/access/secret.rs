//! Secrets: 256 random bits, of which only a digest is kept.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use kindred_proto::v1;
use prost::Message;

use crate::model::access::Digest;

/// What a user's token starts with, so that tools find one that lies where it should not.
const PREFIX: &str = "kindred";
const SECRET_LEN: usize = 32;
const ID_LEN: usize = 6;

/// A secret that was just made.
pub struct Secret {
    /// Names it; no secret.
    pub id: String,
    bytes: [u8; SECRET_LEN],
}

impl Secret {
    /// A new one.
    ///
    /// # Panics
    /// When the system has no random numbers, without which nothing is safe.
    pub fn generate() -> Self {
        let mut bytes = [0; SECRET_LEN];
        let mut id = [0; ID_LEN];
        getrandom::fill(&mut bytes).expect("the system gives random numbers");
        getrandom::fill(&mut id).expect("the system gives random numbers");
        Self { id: hex::encode(id), bytes }
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// As a user's token: `kindred_ID_SECRET`.
    pub fn bearer(&self) -> String {
        format!("{PREFIX}_{}_{}", self.id, BASE64_URL_SAFE_NO_PAD.encode(self.bytes))
    }

    /// As the text with which a worker joins.
    pub fn join(&self, coordinator: &str, server_ca: &[u8]) -> String {
        let ticket = v1::JoinTicket {
            coordinator: coordinator.to_owned(),
            server_ca: server_ca.to_vec(),
            token_id: self.id.clone(),
            secret: self.bytes.to_vec(),
        };
        BASE64_URL_SAFE_NO_PAD.encode(ticket.encode_to_vec())
    }
}

/// The id in a user's token, and the digest of its secret; none for what is not one.
pub fn read_bearer(text: &str) -> Option<(&str, Digest)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(secret).ok().filter(|bytes| bytes.len() == SECRET_LEN)?;
    Some((id, Digest::of(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_as_its_digest() {
        let secret = Secret::generate();
        let text = secret.bearer();
        assert_eq!(read_bearer(&text), Some((secret.id.as_str(), secret.digest())));
        assert_ne!(Secret::generate().bearer(), text);
    }

    #[test]
    fn what_is_no_token_is_none() {
        for text in
            ["", "kindred", "kindred_", "kindred_ab", "kindred_ab_", "kindred_ab_YWJj", "other_ab_YWJj"]
        {
            assert_eq!(read_bearer(text), None, "{text}");
        }
    }
}
