//! Version 1: a line of text (section 2.1).

use alloc::vec::Vec;
use core::{
    fmt::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6},
    str::FromStr,
};

use super::{Endpoints, ProxyHeaderError};
use crate::{
    DecodeError,
    codec::{Decode, Decoded, Encode, Reader, Stop},
};

/// The longest line, in bytes with its CR LF.
pub(super) const MAX_LEN: usize = 107;

/// How a line begins.
const SIGNATURE: &[u8] = b"PROXY ";

/// What comes next.
const FAMILIES: [&[u8]; 3] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN"];

/// A header of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderV1 {
    /// `UNKNOWN`: the sender's own connection, or one of which it knows
    /// nothing. What else the line says is not looked at.
    Unknown,
    /// `TCP4` or `TCP6`.
    Tcp(Endpoints),
}

impl Decode for HeaderV1 {
    type Error = DecodeError;

    /// `PROXY UNKNOWN`.
    const MIN_LEN: usize = 15;
    const MAX_LEN: usize = MAX_LEN;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect(SIGNATURE, ProxyHeaderError::Signature.into())?;
            let rest = input.get(SIGNATURE.len()..).unwrap_or_default();
            if !FAMILIES.iter().any(|family| begin_alike(family, rest)) {
                return Err(DecodeError::from(ProxyHeaderError::Line).into());
            }
            let window = input.get(..MAX_LEN).unwrap_or(input);
            let end = window.windows(2).position(|pair| pair == b"\r\n");
            let Some(end) = end else {
                let needed = if window.ends_with(b"\r") { 1 } else { 2 };
                return Err(if window.len() + needed > MAX_LEN {
                    DecodeError::from(ProxyHeaderError::LineTooLong).into()
                } else {
                    Stop::Needs(needed)
                });
            };
            let line = reader.take(end - SIGNATURE.len())?;
            reader.take(2)?;
            Ok(of_line(line)
                .ok_or(ProxyHeaderError::Line)
                .map_err(DecodeError::from)?)
        })
    }
}

/// Whether the bytes are equal as far as both go.
fn begin_alike(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// Reads what stands between the signature and CR LF. Fields are parted by one
/// space each.
fn of_line(line: &[u8]) -> Option<HeaderV1> {
    if line
        .strip_prefix(b"UNKNOWN")
        .is_some_and(|rest| matches!(rest, [] | [b' ', ..]))
    {
        return Some(HeaderV1::Unknown);
    }
    let mut fields = core::str::from_utf8(line).ok()?.split(' ');
    let mut next = || fields.next();
    let (family, source, destination) = (next()?, next()?, next()?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    if next().is_some() {
        return None;
    }
    Some(HeaderV1::Tcp(match family {
        "TCP4" => {
            let addr = |ip, port| Some(SocketAddrV4::new(Ipv4Addr::from_str(ip).ok()?, port));
            Endpoints::V4 {
                source: addr(source, source_port)?,
                destination: addr(destination, destination_port)?,
            }
        }
        "TCP6" => {
            let addr = |ip, port| Some(SocketAddrV6::new(Ipv6Addr::from_str(ip).ok()?, port, 0, 0));
            Endpoints::V6 {
                source: addr(source, source_port)?,
                destination: addr(destination, destination_port)?,
            }
        }
        _ => return None,
    }))
}

/// A port has no sign and no leading zeros.
fn port(digits: &str) -> Option<u16> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| canonical)
}

impl Encode for HeaderV1 {
    fn encode(&self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = write!(Bytes(out), "{self}\r\n");
    }
}

/// The line, without its end.
impl fmt::Display for HeaderV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Tcp(endpoints) = self else {
            return f.write_str("PROXY UNKNOWN");
        };
        let family = match endpoints {
            Endpoints::V4 { .. } => "TCP4",
            Endpoints::V6 { .. } => "TCP6",
        };
        let (source, destination) = (endpoints.source(), endpoints.destination());
        write!(
            f,
            "PROXY {family} {} {} {} {}",
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        )
    }
}

struct Bytes<'a>(&'a mut Vec<u8>);

impl Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.bytes());
        Ok(())
    }
}
