//! The PROXY protocol, versions 1 and 2: what a load balancer says, before
//! anything else, of the connection that it passes on (HAProxy's
//! `proxy-protocol.txt`, revision of 2020-03-05).
//!
//! [`Header`] reads either version, strictly: there is one way to write each
//! line, lengths must add up, and a checksum is verified.
//!
//! ```
//! use socks_core::{Decode, Decoded, Encode, proxy_protocol::{Endpoints, Header}};
//!
//! let input = b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 1080\r\n\x05\x01\x00";
//! let Decoded::Complete { message, consumed } = Header::decode(input)? else {
//!     panic!("a whole header")
//! };
//! let endpoints = message.endpoints().ok_or("no addresses")?;
//! assert_eq!(endpoints.source(), "192.0.2.7:50123".parse()?);
//! assert_eq!(&input[consumed..], b"\x05\x01\x00");
//!
//! let same = Endpoints::new("192.0.2.7:50123".parse()?, "198.51.100.1:1080".parse()?);
//! assert_eq!(Header::v1(same).to_bytes(), input[..consumed]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod crc32c;
mod endpoints;
mod error;
mod tlv;
mod v1;
mod v2;

use alloc::vec::Vec;

pub use endpoints::Endpoints;
pub use error::ProxyHeaderError;
pub use tlv::Tlvs;
pub use v1::HeaderV1;
pub use v2::{Addresses, HeaderV2};

use crate::{Decode, DecodeError, Decoded, Encode};

/// A header of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// A line of text.
    V1(HeaderV1),
    /// Binary.
    V2(HeaderV2),
}

impl Header {
    /// The line that names `endpoints`.
    #[must_use]
    pub const fn v1(endpoints: Endpoints) -> Self {
        Self::V1(HeaderV1::Tcp(endpoints))
    }

    /// The binary header that names `endpoints`, and says no more.
    #[must_use]
    pub const fn v2(endpoints: Endpoints) -> Self {
        Self::V2(HeaderV2::Proxy {
            addresses: Addresses::Tcp(endpoints),
            tlvs: Tlvs::new(),
        })
    }

    /// Both ends of the TCP connection that is passed on; none if it is the
    /// sender's own (a health check), or no TCP.
    #[must_use]
    pub const fn endpoints(&self) -> Option<Endpoints> {
        match self {
            Self::V1(HeaderV1::Tcp(endpoints))
            | Self::V2(HeaderV2::Proxy {
                addresses: Addresses::Tcp(endpoints),
                ..
            }) => Some(*endpoints),
            Self::V1(_) | Self::V2(_) => None,
        }
    }
}

impl Decode for Header {
    type Error = DecodeError;

    const MIN_LEN: usize = HeaderV1::MIN_LEN;
    const MAX_LEN: usize = HeaderV2::MAX_LEN;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        match input.first() {
            Some(b'P') => Ok(HeaderV1::decode(input)?.map(Self::V1)),
            Some(_) => Ok(HeaderV2::decode(input)?.map(Self::V2)),
            None => Ok(Decoded::Incomplete {
                needed: Self::MIN_LEN,
            }),
        }
    }
}

impl Encode for Header {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::V1(header) => header.encode(out),
            Self::V2(header) => header.encode(out),
        }
    }
}
