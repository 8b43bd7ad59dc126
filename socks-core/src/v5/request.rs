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
    /// BND.ADDR and BND.PORT. A name here is unusual, and no error.
    pub bound: Target,
}

impl Decode for Reply {
    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let [code, _reserved] = reader.array()?;
            Ok(Self {
                code: ReplyCode(code),
                bound: address::read(reader)?,
            })
        })
    }
}

impl Encode for Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([VERSION, self.code.0, 0]);
        address::write(&self.bound, out);
    }
}
