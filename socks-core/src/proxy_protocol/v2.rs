//! Version 2: binary (section 2.2).

use alloc::vec::Vec;
use core::{
    iter,
    net::{SocketAddrV4, SocketAddrV6},
};

use super::{
    Endpoints, ProxyHeaderError, Tlvs,
    crc32c::crc32c,
    endpoints::{UNIX_LEN, V4_LEN, V6_LEN},
    tlv::Checksum,
};
use crate::{
    DecodeError,
    codec::{Decode, Decoded, Encode, Reader, Stop},
};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family and length.
const FRONT: usize = 16;

/// A header of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderV2 {
    /// The sender's own connection, a health check. What else the header holds
    /// is skipped.
    Local,
    /// A connection that is passed on.
    Proxy {
        /// Both ends of it.
        addresses: Addresses,
        /// What else is known of it.
        tlvs: Tlvs,
    },
}

/// Both ends of a connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addresses {
    /// The sender does not know them.
    Unspecified,
    /// A TCP connection.
    Tcp(Endpoints),
    /// Datagrams over UDP.
    Udp(Endpoints),
    /// A Unix socket, whose paths are skipped.
    Unix,
}

impl Decode for HeaderV2 {
    type Error = DecodeError;

    const MIN_LEN: usize = FRONT;
    const MAX_LEN: usize = FRONT + u16::MAX as usize;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect(SIGNATURE, ProxyHeaderError::Signature.into())?;
            let local = match reader.u8()? {
                0x20 => true,
                0x21 => false,
                other => return Err(invalid(ProxyHeaderError::Command(other))),
            };
            let family = reader.u8()?;
            let len = usize::from(reader.u16()?);
            let addresses_len = match family {
                // Even a family that is not known is skipped then.
                _ if local => 0,
                0x00 => 0,
                0x11 | 0x12 => V4_LEN,
                0x21 | 0x22 => V6_LEN,
                0x31 | 0x32 => UNIX_LEN,
                other => return Err(invalid(ProxyHeaderError::Family(other))),
            };
            if len < addresses_len {
                return Err(invalid(ProxyHeaderError::Length));
            }
            let body = reader.take(len)?;
            if local {
                return Ok(Self::Local);
            }
            let (addresses, tlvs) = body.split_at_checked(addresses_len).unwrap_or_default();
            let addresses = match (family, v4(addresses).or(v6(addresses))) {
                (0x11 | 0x21, Some(endpoints)) => Addresses::Tcp(endpoints),
                (0x12 | 0x22, Some(endpoints)) => Addresses::Udp(endpoints),
                (0x31 | 0x32, _) => Addresses::Unix,
                _ => Addresses::Unspecified,
            };
            let (tlvs, checksum) = Tlvs::read(tlvs)?;
            if let Some(checksum) = checksum {
                verify(input, FRONT + addresses_len, len, checksum)?;
            }
            Ok(Self::Proxy { addresses, tlvs })
        })
    }
}

fn invalid(error: ProxyHeaderError) -> Stop {
    DecodeError::from(error).into()
}

/// Addresses of just this length.
fn v4(addresses: &[u8]) -> Option<Endpoints> {
    let &[a, b, c, d, e, f, g, h, i, j, k, l] = <&[u8; V4_LEN]>::try_from(addresses).ok()?;
    Some(Endpoints::V4 {
        source: SocketAddrV4::new([a, b, c, d].into(), u16::from_be_bytes([i, j])),
        destination: SocketAddrV4::new([e, f, g, h].into(), u16::from_be_bytes([k, l])),
    })
}

/// Addresses of just this length.
fn v6(addresses: &[u8]) -> Option<Endpoints> {
    let (source, rest) = addresses.split_first_chunk::<16>()?;
    let (destination, ports) = rest.split_first_chunk::<16>()?;
    let &[i, j, k, l] = <&[u8; 4]>::try_from(ports).ok()?;
    let addr =
        |ip: &[u8; 16], port| SocketAddrV6::new((*ip).into(), u16::from_be_bytes(port), 0, 0);
    Some(Endpoints::V6 {
        source: addr(source, [i, j]),
        destination: addr(destination, [k, l]),
    })
}

/// The checksum is that of the whole header, with zeros in its own place.
fn verify(
    input: &[u8],
    tlvs_at: usize,
    len: usize,
    Checksum { at, crc }: Checksum,
) -> Result<(), DecodeError> {
    let at = tlvs_at + at;
    let before = input.get(..at).unwrap_or_default();
    let after = input.get(at + 4..FRONT + len).unwrap_or_default();
    let zeroed = before.iter().copied().chain(iter::repeat_n(0, 4));
    if crc32c(zeroed.chain(after.iter().copied())) != crc {
        return Err(ProxyHeaderError::Checksum.into());
    }
    Ok(())
}

impl Encode for HeaderV2 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(SIGNATURE);
        let Self::Proxy { addresses, tlvs } = self else {
            return out.extend([0x20, 0, 0, 0]);
        };
        let (family, addresses_len) = match addresses {
            Addresses::Unspecified => (0x00, 0),
            Addresses::Tcp(Endpoints::V4 { .. }) => (0x11, V4_LEN),
            Addresses::Udp(Endpoints::V4 { .. }) => (0x12, V4_LEN),
            Addresses::Tcp(Endpoints::V6 { .. }) => (0x21, V6_LEN),
            Addresses::Udp(Endpoints::V6 { .. }) => (0x22, V6_LEN),
            Addresses::Unix => (0x31, UNIX_LEN),
        };
        let tlvs = tlvs.as_bytes();
        // `Tlvs` leaves room for the longest addresses.
        let len = u16::try_from(addresses_len + tlvs.len()).unwrap_or(u16::MAX);
        out.extend([0x21, family]);
        out.extend(len.to_be_bytes());
        match addresses {
            Addresses::Tcp(endpoints) | Addresses::Udp(endpoints) => write(endpoints, out),
            Addresses::Unspecified => {}
            Addresses::Unix => out.extend([0; UNIX_LEN]),
        }
        out.extend(tlvs);
    }
}

fn write(endpoints: &Endpoints, out: &mut Vec<u8>) {
    match endpoints {
        Endpoints::V4 {
            source,
            destination,
        } => {
            out.extend(source.ip().octets());
            out.extend(destination.ip().octets());
        }
        Endpoints::V6 {
            source,
            destination,
        } => {
            out.extend(source.ip().octets());
            out.extend(destination.ip().octets());
        }
    }
    out.extend(endpoints.source().port().to_be_bytes());
    out.extend(endpoints.destination().port().to_be_bytes());
}
