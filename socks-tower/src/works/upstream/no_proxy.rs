//! Who is reached without a proxy.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use socks_core::{Host, Target};

/// What `NO_PROXY` lists.
#[derive(Clone, Debug, Default)]
pub(super) struct NoProxy(Arc<[Entry]>);

#[derive(Clone, Debug)]
enum Entry {
    Everything,
    Network(IpNet),
    /// A name and all beneath it, or an address.
    Host {
        host: Host,
        port: Option<u16>,
    },
}

impl NoProxy {
    /// What cannot be read matches nothing, as in curl.
    pub(super) fn parse(list: &str) -> Self {
        if list.trim() == "*" {
            return Self([Entry::Everything].into());
        }
        let entries = list.split(|c: char| c == ',' || c.is_ascii_whitespace());
        Self(entries.filter_map(Entry::parse).collect())
    }

    pub(super) fn includes(&self, target: &Target) -> bool {
        self.0.iter().any(|entry| entry.includes(target))
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('.').unwrap_or(text);
        if let Ok(net) = text.parse::<IpNet>() {
            return Some(Self::Network(net));
        }
        let (host, port) = match text.parse::<Target>() {
            Ok(Target { host, port }) => (host, Some(port)),
            Err(_) => (Host::parse(text).ok()?, None),
        };
        Some(Self::Host { host, port })
    }

    fn includes(&self, target: &Target) -> bool {
        let canonical = |ip: &IpAddr| ip.to_canonical();
        match (self, &target.host) {
            (Self::Everything, _) => true,
            (Self::Network(net), Host::Ip(ip)) => net.contains(&canonical(ip)),
            (Self::Network(_), Host::Name(_)) => false,
            (Self::Host { host, port }, wanted) => {
                let is_host = match (host, wanted) {
                    (Host::Ip(ip), Host::Ip(wanted)) => canonical(ip) == canonical(wanted),
                    (Host::Name(name), Host::Name(wanted)) => wanted.is_within(name.as_str()),
                    _ => false,
                };
                is_host && port.is_none_or(|port| port == target.port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(list: &str, target: &str) -> bool {
        NoProxy::parse(list).includes(&target.parse().unwrap())
    }

    #[test]
    fn a_host_is_itself_and_all_beneath_it() {
        for list in [
            "example.com",
            ".example.com",
            "Example.COM.",
            "a, example.com",
            "a b\texample.com",
        ] {
            for target in ["example.com:80", "www.example.com:80", "EXAMPLE.com.:1"] {
                assert!(includes(list, target), "{list}, {target}");
            }
            for target in [
                "notexample.com:80",
                "example.com.org:80",
                "com:80",
                "192.0.2.1:80",
            ] {
                assert!(!includes(list, target), "{list}, {target}");
            }
        }
    }

    #[test]
    fn addresses_and_networks_match_addresses_alone() {
        for (list, target, is_in) in [
            ("192.0.2.1", "192.0.2.1:80", true),
            ("192.0.2.1", "192.0.2.10:80", false),
            ("192.0.2.1", "[::ffff:192.0.2.1]:80", true),
            ("192.0.2.0/24", "192.0.2.10:80", true),
            ("192.0.2.0/24", "[::ffff:192.0.2.1]:80", true),
            ("192.0.2.0/24", "192.0.3.10:80", false),
            ("2001:db8::/32", "[2001:db8:1::1]:80", true),
            ("[2001:db8::1]", "[2001:db8::1]:80", true),
            ("2001:db8::1", "[2001:db8::2]:80", false),
            ("0.0.0.0/0", "example.com:80", false),
            ("127.0.0.1", "localhost:80", false),
        ] {
            assert_eq!(includes(list, target), is_in, "{list}, {target}");
        }
    }

    #[test]
    fn a_port_narrows_and_a_star_is_everything() {
        assert!(includes("example.com:8080", "www.example.com:8080"));
        assert!(!includes("example.com:8080", "example.com:80"));
        assert!(includes("[2001:db8::1]:80", "[2001:db8::1]:80"));
        assert!(includes(" * ", "example.com:80") && includes("*", "192.0.2.1:80"));
        // It means nothing among others, nor does rubbish.
        for list in ["*, a", "*.com", "", ",,", "192.0.2.0/33", "a b:c"] {
            assert!(!includes(list, "example.com:80"), "{list}");
        }
    }
}
