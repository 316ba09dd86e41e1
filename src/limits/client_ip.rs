//! Whose request it is, behind proxies, and what of the address counts.

use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, HeaderName};

use crate::config::{Network, networks_contain};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What a limit per address counts: an IPv4 address, or the /64 network that one IPv6 customer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpKey {
    /// IPv4.
    V4(u32),
    /// The first 64 bits of IPv6.
    V6(u64),
}

impl IpKey {
    /// The key of an address; an IPv4 address in IPv6 form is the IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

/// The client's address. Without a trusted proxy that is the peer, whatever the headers say. Behind one it is the
/// rightmost address of X-Forwarded-For that is not a trusted proxy; an entry that is no address ends the search at
/// the proxy that passed it on.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !networks_contain(trusted, peer) {
        return peer;
    }
    let lines: Vec<_> = headers.get_all(&FORWARDED_FOR).collect();
    let mut nearest = peer;
    for line in lines.iter().rev() {
        let Ok(text) = line.to_str() else { return nearest };
        for hop in text.rsplit(',') {
            let Some(address) = parse_hop(hop.trim()) else { return nearest };
            nearest = address;
            if !networks_contain(trusted, address) {
                return nearest;
            }
        }
    }
    nearest
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bare).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<Network> = ["10.0.0.0/8", "2001:db8:f::/48"].iter().map(|n| n.parse().unwrap()).collect();
        let cases: &[(&str, &[&str], &str)] = &[
            ("203.0.113.9", &[], "203.0.113.9"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1], 2001:db8:f::7"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1,"], "10.0.0.1"),
        ];
        for (peer, lines, expected) in cases {
            let mut request = TestRequest::default();
            for line in *lines {
                request = request.append_header(("x-forwarded-for", *line));
            }
            let request = request.to_http_request();
            let found = client_ip(peer.parse().unwrap(), request.headers(), &trusted);
            assert_eq!(found.to_string(), *expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn nobody_is_believed_by_default() {
        let request = TestRequest::default().append_header(("x-forwarded-for", "1.1.1.1")).to_http_request();
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(client_ip(peer, request.headers(), &[]), peer);
    }

    #[test]
    fn an_ipv6_customer_is_one_key() {
        let key = |text: &str| IpKey::of(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
