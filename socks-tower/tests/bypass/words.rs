//! What clients say, and what they are told.

use std::net::IpAddr;

/// The port that every client asks for.
const PORT: u16 = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Granted,
    /// 02 of SOCKS5; SOCKS4's only word for no.
    NotAllowed,
    /// SOCKS5's other words for no.
    Refused(u8),
}

/// What a client says, up to the end of its request.
#[derive(Clone)]
pub(crate) struct Words {
    kind: &'static str,
    host: String,
    pub(crate) bytes: Vec<u8>,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.kind, self.host)
    }
}

impl Words {
    fn socks5(kind: &'static str, host: &str, address: &[&[u8]]) -> Self {
        let bytes = [b"\x05\x01\x00\x05\x01\x00", &*address.concat()].concat();
        Self::new(kind, host, [&bytes, &PORT.to_be_bytes()[..]].concat())
    }

    fn socks4(kind: &'static str, host: &str, ip: [u8; 4], rest: &[&[u8]]) -> Self {
        let head = [b"\x04\x01", &PORT.to_be_bytes()[..], &ip].concat();
        Self::new(kind, host, [head, rest.concat()].concat())
    }

    fn new(kind: &'static str, host: &str, bytes: Vec<u8>) -> Self {
        let host = host.to_owned();
        Self { kind, host, bytes }
    }

    /// `ip` in an address field: of SOCKS5, and of SOCKS4 if it fits.
    pub(crate) fn address(ip: &str) -> Vec<Self> {
        match ip.parse().unwrap() {
            IpAddr::V6(v6) => {
                vec![Self::socks5("ATYP 4", ip, &[b"\x04", &v6.octets()])]
            }
            IpAddr::V4(v4) => {
                let octets = v4.octets();
                let mut words = vec![Self::socks5("ATYP 1", ip, &[b"\x01", &octets])];
                if octets[..3] != [0; 3] || octets[3] == 0 {
                    words.push(Self::socks4("SOCKS4", ip, octets, &[b"joe\0"]));
                }
                words
            }
        }
    }

    /// `host` in a name field: of SOCKS5, and of SOCKS4a.
    pub(crate) fn name(host: &str) -> [Self; 2] {
        let name = host.as_bytes();
        let len = u8::try_from(name.len()).unwrap();
        [
            Self::socks5("ATYP 3", host, &[b"\x03", &[len], name]),
            Self::socks4("SOCKS4a", host, [0, 0, 0, 1], &[b"joe\0", name, b"\0"]),
        ]
    }

    pub(crate) fn read(&self, heard: &[u8]) -> Told {
        if self.bytes[0] == 5 {
            assert_eq!(heard[..3], [5, 0, 5], "{self:?}");
            return match heard[3] {
                0 => Told::Granted,
                2 => Told::NotAllowed,
                code => Told::Refused(code),
            };
        }
        assert_eq!((heard[0], heard.len()), (0, 8), "{self:?}");
        match heard[1] {
            90 => Told::Granted,
            91 => Told::NotAllowed,
            code => panic!("{self:?} {code}"),
        }
    }
}
