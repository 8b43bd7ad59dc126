//! Outcomes in the words of each version.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::Version;
use crate::{
    DecodeError, Encode, Host, Target, v4,
    v5::{self, ReplyCode},
};

pub(super) const HTTP_ANSWER: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Connection: close\r\n\
    \r\n\
    This is a SOCKS proxy. It does not speak HTTP.\r\n";

/// What a malformed SOCKS5 request is answered with.
pub(super) fn decode_reply(error: &DecodeError) -> ReplyCode {
    match error {
        DecodeError::AddressType(_) => ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED,
        DecodeError::Version { .. }
        | DecodeError::DomainName(_)
        | DecodeError::UserIdTooLong
        | DecodeError::GssapiMessageType(_)
        | DecodeError::ProxyHeader(_) => ReplyCode::GENERAL_FAILURE,
    }
}

/// Writes the reply to a request in the words of `version`: granted, with
/// BND.ADDR, or refused.
///
/// An IPv4 address in IPv6's mapped form, as a dual-stack socket gives it, is
/// written as IPv4. SOCKS4 has one word for all refusals, and room for IPv4
/// alone: another bound address is left unspecified there.
pub fn reply(version: Version, outcome: Result<&Target, ReplyCode>, out: &mut Vec<u8>) {
    let (code, bound) = match outcome {
        Ok(bound) => (ReplyCode::SUCCEEDED, bound),
        // A refusal never reads as a success, whatever its code.
        Err(ReplyCode::SUCCEEDED) => (ReplyCode::GENERAL_FAILURE, &Target::UNSPECIFIED),
        Err(code) => (code, &Target::UNSPECIFIED),
    };
    let port = bound.port;
    let host = match &bound.host {
        Host::Ip(ip) => Host::Ip(ip.to_canonical()),
        Host::Name(_) => bound.host.clone(),
    };
    match version {
        Version::Socks5 => {
            let bound = Target { host, port };
            v5::Reply { code, bound }.encode(out);
        }
        Version::Socks4 | Version::Socks4a => {
            let code = match outcome {
                Ok(_) => v4::ReplyCode::GRANTED,
                Err(_) => v4::ReplyCode::REJECTED,
            };
            let ip = match host {
                Host::Ip(IpAddr::V4(ip)) => ip,
                Host::Ip(IpAddr::V6(_)) | Host::Name(_) => Ipv4Addr::UNSPECIFIED,
            };
            let bound = SocketAddrV4::new(ip, port);
            v4::Reply { code, bound }.encode(out);
        }
    }
}
