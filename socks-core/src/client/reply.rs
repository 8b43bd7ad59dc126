//! Replies as a client takes them: what was granted, or the refusal.
//!
//! A refusal is known by version and code. Some servers end it there, so to
//! wait for the rest of it would be to wait for ever.

use core::net::SocketAddr;

use super::{Error, FailureCode};
use crate::{
    Decode, Decoded, Target, v4,
    v5::{self, ReplyCode},
};

/// The shortest success of SOCKS5, in bytes: with an empty name, which some might
/// send.
pub(super) const MIN_GRANT: usize = 4 + 1 + 2;

pub(super) fn v4(input: &[u8]) -> Result<Decoded<Target>, Error> {
    match *input {
        [] | [v4::REPLY_VERSION] => Ok(Decoded::Incomplete {
            needed: 2 - input.len(),
        }),
        [v4::REPLY_VERSION, code, ..] if v4::ReplyCode(code) != v4::ReplyCode::GRANTED => {
            Err(Error::Refused(FailureCode::V4(v4::ReplyCode(code))))
        }
        _ => Ok(v4::Reply::decode(input)?.map(|reply| SocketAddr::from(reply.bound).into())),
    }
}

pub(super) fn v5(input: &[u8]) -> Result<Decoded<Target>, Error> {
    match *input {
        [] | [v5::VERSION] => Ok(Decoded::Incomplete {
            needed: 2 - input.len(),
        }),
        [v5::VERSION, code, ..] if ReplyCode(code) != ReplyCode::SUCCEEDED => {
            Err(Error::Refused(FailureCode::V5(ReplyCode(code))))
        }
        _ => Ok(v5::Reply::decode(input)?.map(|reply| reply.bound)),
    }
}
