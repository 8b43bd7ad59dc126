//! A client's words, in each version.

use std::net::SocketAddr;

use tokio::{io::AsyncReadExt, net::TcpStream};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    V4,
    V4a,
    V5,
    V5Password,
}

impl Speaks {
    pub(crate) const ALL: [Self; 4] = [Self::V4, Self::V4a, Self::V5, Self::V5Password];

    /// All that a client has to say to reach `target`, in one flight.
    pub(crate) fn connect(self, target: SocketAddr) -> Vec<u8> {
        let SocketAddr::V4(target) = target else {
            panic!("{target} is not IPv4")
        };
        let (ip, port) = (target.ip().octets(), target.port().to_be_bytes());
        match self {
            Self::V4 => [b"\x04\x01".as_slice(), &port, &ip, b"joe\0"].concat(),
            Self::V4a => {
                let name = b"\0\0\0\x01joe\0target.test\0";
                [b"\x04\x01".as_slice(), &port, name].concat()
            }
            Self::V5 => [b"\x05\x01\x00\x05\x01\x00\x01".as_slice(), &ip, &port].concat(),
            Self::V5Password => {
                let login = b"\x05\x01\x02\x01\x03joe\x06secret";
                [login.as_slice(), b"\x05\x01\x00\x01", &ip, &port].concat()
            }
        }
    }

    /// What comes before the reply to the request.
    pub(crate) fn preamble(self) -> &'static [u8] {
        match self {
            Self::V4 | Self::V4a => b"",
            Self::V5 => b"\x05\x00",
            Self::V5Password => b"\x05\x02\x01\x00",
        }
    }

    /// All that a client hears if SOCKS5 has `code` for the failure.
    pub(crate) fn refusal(self, code: u8) -> Vec<u8> {
        let reply = match self {
            Self::V4 | Self::V4a => b"\x00\x5b\0\0\0\0\0\0".to_vec(),
            Self::V5 | Self::V5Password => [&[5, code, 0, 1], [0; 6].as_slice()].concat(),
        };
        [self.preamble(), &reply].concat()
    }

    /// Reads all up to the tunnel.
    pub(crate) async fn hears_that_it_is_granted(self, client: &mut TcpStream) {
        let mut preamble = vec![0; self.preamble().len()];
        client.read_exact(&mut preamble).await.unwrap();
        assert_eq!(preamble, self.preamble(), "{self:?}");
        let (granted, len): (&[u8], _) = match self {
            Self::V4 | Self::V4a => (b"\x00\x5a", 8),
            Self::V5 | Self::V5Password => (b"\x05\x00\x00\x01", 10),
        };
        let mut reply = vec![0; len];
        client.read_exact(&mut reply).await.unwrap();
        assert!(reply.starts_with(granted), "{self:?}: {reply:?}");
    }
}
