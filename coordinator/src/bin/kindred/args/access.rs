//! The command line of TLS, tokens and audit events.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use kindred_proto::v1;

/// How the coordinator is reached where it wants TLS and a token.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Credentials {
    /// The coordinator speaks TLS, and its certificate comes from this authority (PEM; `tls/ca.pem` in its state folder)
    #[arg(long, global = true, env = "KINDRED_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// File with the token that is shown, Kindred's or a JWT; without it KINDRED_TOKEN, and then `kindred login`
    #[arg(long, global = true, env = "KINDRED_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// `kindred tokens`.
#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Make a token and print it: it is shown this once
    Create(CreateToken),
    /// List the tokens, without their secrets
    List,
    /// Refuse a token from now on
    Revoke(RevokeToken),
}

/// `kindred tokens create`.
#[derive(Debug, ClapArgs)]
pub struct CreateToken {
    /// Who or what it is for; audit events show it
    #[arg(long)]
    pub name: String,
    /// What it allows: each role may do what those before it may
    #[arg(long, value_enum)]
    pub role: Role,
    /// The project that it is for; `*` for all
    #[arg(long, default_value = "default")]
    pub project: String,
    /// How long it is good, such as 12h or 30d; left out: until it is revoked
    #[arg(long, value_parser = ttl, value_name = "TIME")]
    pub ttl: Option<u64>,
}

/// The roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads
    Viewer,
    /// Submits jobs, and cancels and pauses those of its project
    Submitter,
    /// Takes nodes out of service and back
    Operator,
    /// Makes tokens, lets nodes join, reads the audit events
    Admin,
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Submitter => Self::Submitter,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

/// `kindred tokens revoke`.
#[derive(Debug, ClapArgs)]
pub struct RevokeToken {
    /// The token's id, as `kindred tokens list` prints it
    pub token: String,
}

/// `kindred nodes join-token`.
#[derive(Debug, ClapArgs)]
pub struct JoinToken {
    /// How long it may be used, such as 1h
    #[arg(long, default_value = "1h", value_parser = ttl, value_name = "TIME")]
    pub ttl: u64,
    /// Where the worker finds the coordinator; left out: where that listens
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
}

/// `kindred nodes expel`.
#[derive(Debug, ClapArgs)]
pub struct Expel {
    /// The node's id, as `kindred nodes` prints it
    pub node: String,
}

/// `kindred events`.
#[derive(Debug, ClapArgs)]
pub struct Events {
    /// Only events of this job
    pub job: Option<String>,
    /// Only events of this node
    #[arg(long, value_name = "ID")]
    pub node: Option<String>,
    /// Go on with what happens
    #[arg(short, long)]
    pub follow: bool,
    /// Only events after this number, and all of them
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
    /// Instead: who called what on the coordinator, and what was refused
    #[arg(long, conflicts_with_all = ["job", "node", "follow", "after"])]
    pub audit: bool,
    /// At most so many, the last ones
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
}

/// Seconds in `90s`, `15m`, `12h`, `30d`.
pub(super) fn ttl(text: &str) -> Result<u64, String> {
    let wrong = || "give a whole number with its unit, such as 90s, 15m, 12h or 30d".to_owned();
    let unit_s = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit_s).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(ttl("12h"), Ok(12 * 3600));
        assert_eq!(ttl("30d"), Ok(30 * 24 * 3600));
        for bad in ["", "h", "12", "-1h", "0s", "1w", "99999999999999999999d", "12é"] {
            ttl(bad).expect_err(bad);
        }
    }
}
