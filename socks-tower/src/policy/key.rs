use ipnet::IpNet;

use crate::Session;

/// Bits of an IPv6 address that tell one customer from another: within a /64 a
/// client takes whatever address it likes.
const IPV6_PREFIX: u8 = 64;

/// Whom to count a session's client as: its IPv4 address, or its IPv6 network.
/// None where addresses mean nothing: such clients count as one.
pub(crate) fn network_of(session: &Session) -> Option<IpNet> {
    let addr = session.client_addr?.ip().to_canonical();
    let prefix = if addr.is_ipv4() { 32 } else { IPV6_PREFIX };
    IpNet::new(addr, prefix).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(addr: &str) -> String {
        let session = Session {
            client_addr: Some(addr.parse().unwrap()),
            ..Session::default()
        };
        network_of(&session).unwrap().to_string()
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_mapped_ipv4_as_ipv4() {
        assert_eq!(key("192.0.2.7:9"), "192.0.2.7/32");
        assert_eq!(key("[::ffff:192.0.2.7]:9"), "192.0.2.7/32");
        assert_eq!(key("[2001:db8:1:2:3:4:5:6]:9"), "2001:db8:1:2::/64");
        assert_eq!(network_of(&Session::default()), None);
    }
}
