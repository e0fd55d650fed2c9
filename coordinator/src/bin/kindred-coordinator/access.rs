//! TLS and tokens on the command line.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use kindred_coordinator::access::{Security, TlsFiles, oidc};

/// Who may reach the coordinator, and how it is told from others.
#[derive(Debug, Args)]
pub struct AccessArgs {
    /// `auto`: TLS with a certificate of the coordinator's own authority, and a token or certificate with every call
    #[arg(long, value_enum, value_name = "MODE")]
    tls: Option<Tls>,
    /// TLS with this certificate, the whole chain as PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "tls")]
    tls_cert: Option<PathBuf>,
    /// Its key, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A name or address by which this host is reached beside its own; may be repeated. Workers that join get the first one
    #[arg(long = "tls-name", value_name = "NAME")]
    tls_names: Vec<String>,
    /// Also take tokens of these OpenID Connect providers, and let people sign in, as YAML; deploy/coordinator/oidc.yaml explains it
    #[arg(long, env = "KINDRED_OIDC", value_name = "FILE")]
    oidc: Option<PathBuf>,
    /// Listen beyond this machine without TLS and tokens: whoever reaches the port may do everything
    #[arg(long)]
    allow_insecure: bool,
    /// How long a node's certificate is good; it is renewed before half of that is over
    #[arg(long, default_value = "24h", value_parser = life, value_name = "TIME", hide = true)]
    node_certificate_life: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    Auto,
}

impl AccessArgs {
    /// Refuses to listen where others reach a coordinator that lets everyone do everything.
    pub fn check(&self, option: &str, listen: SocketAddr) -> Result<()> {
        if self.has_tls() || self.allow_insecure || listen.ip().is_loopback() {
            return Ok(());
        }
        bail!(
            "{option} {listen} is reached from other machines, and without TLS everyone there may do everything: add \
             --tls auto (or --tls-cert and --tls-key), or --allow-insecure if the network keeps others out"
        )
    }

    /// What TLS and tokens stand on; none without.
    pub fn security(
        &self,
        state: &Path,
        address: SocketAddr,
        advertised: Option<String>,
    ) -> Result<Option<Arc<Security>>> {
        if !self.has_tls() {
            ensure!(
                self.oidc.is_none(),
                "--oidc needs TLS: a token over a plain connection is anybody's; add --tls auto"
            );
            return Ok(None);
        }
        let files = self.tls_cert.clone().zip(self.tls_key.clone());
        let files = files.map(|(certificate, key)| TlsFiles { certificate, key });
        let life = self.node_certificate_life;
        let mut names = self.tls_names.clone();
        // Others come by the name that is advertised to them.
        let advertised_name = advertised.as_deref().and_then(|address| Some(address.rsplit_once(':')?.0));
        names.extend(advertised_name.map(|name| name.trim_matches(['[', ']']).to_owned()));
        let mut security = Security::open(state, files.as_ref(), address, &names, life)?;
        security.address = advertised.unwrap_or(security.address);
        security.oidc = self.oidc.as_deref().map(read_oidc).transpose()?;
        Ok(Some(Arc::new(security)))
    }

    /// Whether connections are encrypted, and callers asked who they are.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some() || self.tls_cert.is_some()
    }
}

fn read_oidc(file: &Path) -> Result<oidc::Settings> {
    let text = fs::read_to_string(file).with_context(|| format!("--oidc: cannot read {}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    oidc::Settings::read(&text, folder)
        .with_context(|| format!("{} does not say who is trusted", file.display()))
}

fn life(text: &str) -> Result<Duration> {
    let life = crate::duration(text)?;
    ensure!(
        (Duration::from_secs(2)..=Duration::from_secs(30 * 24 * 3600)).contains(&life),
        "must be 2s to 720h"
    );
    Ok(life)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        access: AccessArgs,
    }

    fn check(args: &[&str], listen: &str) -> Result<(), String> {
        let args = ["kindred-coordinator"].iter().chain(args);
        let only = Only::try_parse_from(args).map_err(|error| error.to_string())?;
        only.access.check("--listen", listen.parse().expect("an address")).map_err(|error| error.to_string())
    }

    #[test]
    fn nobody_listens_to_others_without_saying_so() {
        for listen in ["127.0.0.1:7460", "[::1]:7460", "127.8.0.1:0"] {
            assert_eq!(check(&[], listen), Ok(()), "{listen}");
        }
        for listen in ["0.0.0.0:7460", "10.77.0.1:7460", "[::]:7460"] {
            let error = check(&[], listen).expect_err(listen);
            assert!(error.contains("--tls auto") && error.contains("--allow-insecure"), "{error}");
            for args in
                [&["--tls", "auto"][..], &["--allow-insecure"], &["--tls-cert", "a", "--tls-key", "b"]]
            {
                assert_eq!(check(args, listen), Ok(()), "{listen}");
            }
        }
        check(&["--tls-cert", "a"], "127.0.0.1:1").expect_err("a certificate without its key");
    }
}
