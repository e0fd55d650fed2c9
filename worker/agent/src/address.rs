//! The address that ranks of this node listen on for the ranks of other nodes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};

/// The IP that `--data-address` means: itself, or the first address of the named interface (IPv4 before IPv6).
///
/// # Errors
/// When the text is neither an address nor an interface with one.
pub fn parse(text: &str) -> Result<IpAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let interfaces = getifaddrs().map_err(|error| format!("cannot list interfaces: {error}"))?;
    let mut addresses: Vec<_> =
        interfaces.filter(|interface| interface.interface_name == text).filter_map(|it| ip(&it)).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
        .first()
        .copied()
        .ok_or_else(|| format!("{text:?} is neither an IP address nor an interface with one"))
}

/// The local address of the route to another host. Nothing is sent.
///
/// # Errors
/// When there is no route.
pub fn toward(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

fn ip(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_an_interface_and_neither() {
        assert_eq!(parse("10.0.0.7"), Ok(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(parse("::1"), Ok(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(parse("lo"), Ok(Ipv4Addr::LOCALHOST.into()));
        assert!(parse("no-such-interface").expect_err("neither").contains("no-such-interface"));
    }

    #[test]
    fn the_route_to_this_machine_is_the_loopback() {
        assert_eq!(toward(([127, 0, 0, 1], 9).into()).expect("a route"), IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
