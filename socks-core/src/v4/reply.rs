//! What became of a SOCKS4 request.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

use super::ReplyCode;
use crate::{
    DecodeError,
    codec::{Decode, Decoded, Encode, Reader},
};

/// A reply's version byte: 0, not 4.
pub(crate) const REPLY_VERSION: u8 = 0;

/// The outcome of a request. BIND has two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it went.
    pub code: ReplyCode,
    /// The address that BIND listens on; clients ignore it after CONNECT.
    pub bound: SocketAddrV4,
}

impl Decode for Reply {
    type Error = DecodeError;

    const MIN_LEN: usize = 8;
    const MAX_LEN: usize = 8;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(REPLY_VERSION)?;
            let code = ReplyCode(reader.u8()?);
            let port = reader.u16()?;
            let ip = Ipv4Addr::from(reader.array::<4>()?);
            Ok(Self {
                code,
                bound: SocketAddrV4::new(ip, port),
            })
        })
    }
}

impl Encode for Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([REPLY_VERSION, self.code.0]);
        out.extend(self.bound.port().to_be_bytes());
        out.extend(self.bound.ip().octets());
    }
}
