//! ATYP, address and port, as request, reply and datagram header hold them
//! (RFC 1928 section 5).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    DecodeError, Host, Target,
    codec::{Reader, Stop},
};

const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;

/// An IP address in a name field is given as the address that it is.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Target, Stop> {
    let host = match reader.u8()? {
        IPV4 => Host::Ip(IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?))),
        IPV6 => Host::Ip(IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?))),
        DOMAIN_NAME => {
            let name = reader.short()?;
            Host::from_name_field(name).map_err(DecodeError::from)?
        }
        other => return Err(DecodeError::AddressType(other).into()),
    };
    let port = reader.u16()?;
    Ok(Target { host, port })
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
