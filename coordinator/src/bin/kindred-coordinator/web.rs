//! Where the dashboard listens.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::net::TcpListener;

use crate::access::AccessArgs;

/// Where the dashboard listens.
#[derive(Debug, Args)]
pub struct WebArgs {
    /// Where the dashboard listens, or `none` [default: this machine only, the port after the API's]; the file `web` in the state
    /// folder names it
    #[arg(long, env = "KINDRED_WEB", value_name = "ADDRESS")]
    web: Option<Wish>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    At(SocketAddr),
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let address =
            text.parse().map_err(|_| "give an address with its port, such as 127.0.0.1:7461, or none");
        Ok(Self::At(address?))
    }
}

impl WebArgs {
    /// Refuses to show everyone what everyone could then change.
    pub fn check(&self, access: &AccessArgs) -> Result<()> {
        match self.web {
            Some(Wish::At(address)) => access.check("--web", address),
            _ => Ok(()),
        }
    }

    /// The listener; none where no dashboard is wished for.
    pub async fn bind(&self, api: SocketAddr, wished_api: SocketAddr) -> Result<Option<TcpListener>> {
        let by_default = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match self.web {
            Some(Wish::None) => Ok(None),
            Some(Wish::At(address)) => match TcpListener::bind(address).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    bail!("{address} is in use by another process: choose another --web address")
                }
                bound => {
                    let bound = bound
                        .with_context(|| format!("cannot listen on {address}: choose another --web address"));
                    bound.map(Some)
                }
            },
            None => {
                // Where any port does for the API, any does for the dashboard.
                let port = if wished_api.port() == 0 { 0 } else { api.port().checked_add(1).unwrap_or(0) };
                let bound = match TcpListener::bind(by_default(port)).await {
                    // Nobody asked for this one.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        TcpListener::bind(by_default(0)).await
                    }
                    bound => bound,
                };
                bound.context("cannot listen for the dashboard: choose a --web address, or none").map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_none() {
        assert_eq!("none".parse(), Ok(Wish::None));
        assert_eq!("127.0.0.1:80".parse(), Ok(Wish::At("127.0.0.1:80".parse().expect("an address"))));
        let error = "7461".parse::<Wish>().expect_err("no address");
        assert!(error.contains("127.0.0.1:7461"), "{error}");
    }

    #[tokio::test]
    async fn the_default_is_the_port_after_the_apis_or_a_free_one() {
        let args = WebArgs { web: None };
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, port - 1));
        let web = args.bind(api, api).await.expect("another one is free").expect("there is a dashboard");
        let address = web.local_addr().expect("bound");
        assert!(address.ip().is_loopback() && address.port() != port, "{address}");
        let wish = WebArgs { web: Some(Wish::At(taken.local_addr().expect("bound"))) };
        let error = wish.bind(api, api).await.expect_err("it was asked for").to_string();
        assert!(error.contains("--web"), "{error}");
    }
}
