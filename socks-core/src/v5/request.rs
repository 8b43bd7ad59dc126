//! What the client wants, and what became of it (RFC 1928 sections 4 and 6).

use alloc::vec::Vec;

use super::{Command, ReplyCode, VERSION, address};
use crate::{
    DecodeError, Target,
    codec::{Decode, Decoded, Encode, Reader},
};

/// A command and the target that it is about.
///
/// The reserved byte is written as 0, and not judged when read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// DST.ADDR and DST.PORT.
    pub target: Target,
}

impl Decode for Request {
    type Error = DecodeError;

    const MIN_LEN: usize = 3 + address::MIN_LEN;
    const MAX_LEN: usize = 3 + address::MAX_LEN;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let [command, _reserved] = reader.array()?;
            Ok(Self {
                command: Command(command),
                target: address::read(reader)?,
            })
        })
    }
}

impl Encode for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([VERSION, self.command.0, 0]);
        address::write(&self.target, out);
    }
}

/// The outcome of a request. BIND has two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it went.
    pub code: ReplyCode,
    /// BND.ADDR and BND.PORT.
    ///
    /// Servers are careless with it, and it is read with that in mind. A name
    /// is unusual, and no error; what cannot be a name, such as an empty one,
    /// is read as `0.0.0.0`, with the port that stands behind it. An address
    /// type of zero is read as IPv4 in a success and as the end of a refusal,
    /// with [`Target::UNSPECIFIED`].
    pub bound: Target,
}

impl Decode for Reply {
    type Error = DecodeError;

    /// A refusal that ends at its address type: see [`bound`](Self::bound).
    const MIN_LEN: usize = 4;
    const MAX_LEN: usize = 3 + address::MAX_LEN;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let [code, _reserved] = reader.array()?;
            let code = ReplyCode(code);
            let bound = address::read_bound(reader, code)?;
            Ok(Self { code, bound })
        })
    }
}

impl Encode for Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([VERSION, self.code.0, 0]);
        address::write(&self.bound, out);
    }
}
