//! What is wrong with a token of an identity provider, in words for whoever showed it.

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It cannot be read.
    #[error("the token cannot be read: {0}")]
    Malformed(&'static str),
    /// Signed in a way that is not taken.
    #[error("the token is signed by {0:?}, and only RS256, PS256, ES256 and EdDSA are taken")]
    Algorithm(String),
    /// Of a provider that is not trusted.
    #[error("the token was issued by {found:?}, and this coordinator trusts {trusted}")]
    Issuer {
        /// Who issued it.
        found: String,
        /// Who is trusted.
        trusted: String,
    },
    /// The provider does not publish the key, as far as is known.
    #[error("the token is signed by a key{key} that {issuer} does not publish: sign in again")]
    UnknownKey {
        /// Its id, with a space before it, where it has one.
        key: String,
        /// The provider.
        issuer: String,
    },
    /// No keys of the provider are known, or not any more.
    #[error("the keys of {issuer} cannot be read, so no token of it can be checked: {why}")]
    NoKeys {
        /// The provider.
        issuer: String,
        /// What happened.
        why: String,
    },
    /// It was changed, or signed by somebody else.
    #[error("the token's signature does not hold")]
    Signature,
    /// It ended.
    #[error("the token expired {ago} ago: sign in again with `kindred login`, or get a new one")]
    Expired {
        /// How long ago.
        ago: String,
    },
    /// It has not begun.
    #[error("the token is good only in {wait} ({claim}): is a clock wrong?")]
    Early {
        /// Until when.
        wait: String,
        /// Which claim says so.
        claim: &'static str,
    },
    /// For somebody else.
    #[error("the token's audience is {found}, and this coordinator expects {expected}")]
    Audience {
        /// For whom it is.
        found: String,
        /// For whom it should be.
        expected: String,
    },
    /// Given to another program.
    #[error("the token was given to client {found:?} (azp), and this coordinator expects {expected:?}")]
    Client {
        /// To which.
        found: String,
        /// To which it should be.
        expected: String,
    },
    /// A claim that must be there is not, or is something else.
    #[error("the token's claim {claim} {problem}")]
    Claim {
        /// Which one.
        claim: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Flaw {
    /// About a claim.
    pub fn claim(claim: &str, problem: impl Into<String>) -> Self {
        Self::Claim { claim: claim.to_owned(), problem: problem.into() }
    }
}

/// A time span in its largest unit: `40 s`, `3 min`, `5 h`, `2 days`.
pub fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", (seconds + 30) / 60),
        5_400..129_600 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_unit() {
        for (millis, text) in
            [(-5, "0 s"), (89_999, "89 s"), (180_000, "3 min"), (7_200_000, "2 h"), (172_800_000, "2 days")]
        {
            assert_eq!(span(millis), text);
        }
    }
}
