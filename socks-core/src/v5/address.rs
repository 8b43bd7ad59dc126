//! ATYP, address and port, as request, reply and datagram header hold them
//! (RFC 1928 section 5).

use alloc::vec::Vec;
use core::net::IpAddr;

use super::ReplyCode;
use crate::{
    DecodeError, DomainName, Host, Target,
    codec::{Reader, Stop},
};

const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;

/// The shortest form: a name of one byte.
pub(super) const MIN_LEN: usize = 1 + 1 + 1 + 2;

/// The longest form: a name of 255 bytes.
pub(super) const MAX_LEN: usize = 1 + 1 + DomainName::MAX_LEN + 2;

/// Reads a target. An IP address in a name field is given as the address that
/// it is.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Target, Stop> {
    match reader.u8()? {
        DOMAIN_NAME => with_port(reader, |reader| {
            let name = reader.short()?;
            Ok(Host::from_name_field(name).map_err(DecodeError::from)?)
        }),
        other => ip(other, reader),
    }
}

/// Reads BND.ADDR and BND.PORT, as leniently as the framing allows: hardly a
/// client needs them, so none should fail because of them.
pub(super) fn read_bound(reader: &mut Reader<'_>, code: ReplyCode) -> Result<Target, Stop> {
    match reader.u8()? {
        DOMAIN_NAME => with_port(reader, |reader| {
            let name = reader.short()?;
            Ok(Host::from_name_field(name).unwrap_or(Target::UNSPECIFIED.host))
        }),
        // No address type of the RFC's, but some servers leave it at zero. A
        // success with it is a ten-byte reply in which only the code was
        // filled in. A refusal may end right here, and to wait for more would
        // be to wait for ever; if more follows, nobody misses it.
        0 if code == ReplyCode::SUCCEEDED => ip(IPV4, reader),
        0 => Ok(Target::UNSPECIFIED),
        other => ip(other, reader),
    }
}

fn ip(address_type: u8, reader: &mut Reader<'_>) -> Result<Target, Stop> {
    with_port(reader, |reader| match address_type {
        IPV4 => Ok(IpAddr::from(reader.array::<4>()?).into()),
        IPV6 => Ok(IpAddr::from(reader.array::<16>()?).into()),
        other => Err(DecodeError::AddressType(other).into()),
    })
}

fn with_port<'a>(
    reader: &mut Reader<'a>,
    host: impl FnOnce(&mut Reader<'a>) -> Result<Host, Stop>,
) -> Result<Target, Stop> {
    Ok(Target {
        host: reader.before(2, host)?,
        port: reader.u16()?,
    })
}

pub(super) fn write(target: &Target, out: &mut Vec<u8>) {
    match &target.host {
        Host::Ip(IpAddr::V4(ip)) => {
            out.push(IPV4);
            out.extend(ip.octets());
        }
        Host::Ip(IpAddr::V6(ip)) => {
            out.push(IPV6);
            out.extend(ip.octets());
        }
        Host::Name(name) => {
            let (len, name) = name.wire();
            out.extend([DOMAIN_NAME, len]);
            out.extend(name);
        }
    }
    out.extend(target.port.to_be_bytes());
}
