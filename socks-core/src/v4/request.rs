//! What a SOCKS4 or SOCKS4a client wants.

use alloc::{boxed::Box, string::ToString, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use super::VERSION;
use crate::{
    DecodeError, DomainName, DomainNameError, FieldError, Host, Target,
    codec::{Decode, Decoded, Encode, Reader},
    v5::Command,
};

/// Who a SOCKS4 client says it is: at most 255 bytes without NUL.
///
/// It is a claim that nothing backs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserId(Box<[u8]>);

impl UserId {
    /// The longest user id that is taken, in bytes. The protocol sets no limit.
    pub const MAX_LEN: usize = 255;

    /// Takes `user_id`.
    ///
    /// # Errors
    ///
    /// If it is longer than [`MAX_LEN`](Self::MAX_LEN) or holds a NUL.
    pub fn new(user_id: &[u8]) -> Result<Self, FieldError> {
        FieldError::bound("user id", user_id.len(), Self::MAX_LEN)?;
        match user_id.contains(&0) {
            true => Err(FieldError::Nul { field: "user id" }),
            false => Ok(Self(user_id.into())),
        }
    }

    /// The user id's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// What stands in DSTIP when SOCKS4a's name follows.
const NAME_FOLLOWS: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

/// Whether DSTIP is SOCKS4a's 0.0.0.x; 0.0.0.0 is an address like any other.
fn announces_a_name(ip: Ipv4Addr) -> bool {
    matches!(ip.octets(), [0, 0, 0, 1..=255])
}

/// A command, its target and a user id.
///
/// SOCKS4 has room for an IPv4 address alone. Any other target makes it
/// SOCKS4a: a name, sent behind the address `0.0.0.1`. An IPv6 address is
/// spelt as such a name, and so are the addresses 0.0.0.1 to 0.0.0.255, which
/// would announce one; they are read back as addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do: [`Command::CONNECT`] or [`Command::BIND`].
    pub command: Command,
    /// Where to.
    pub target: Target,
    /// Who the client says it is.
    pub user_id: UserId,
}

impl Request {
    /// Whether this takes SOCKS4a to say.
    #[must_use]
    pub fn is_v4a(&self) -> bool {
        match self.target.host {
            Host::Ip(IpAddr::V4(ip)) => announces_a_name(ip),
            Host::Ip(IpAddr::V6(_)) | Host::Name(_) => true,
        }
    }
}

impl Decode for Request {
    type Error = DecodeError;

    const MIN_LEN: usize = 9;
    const MAX_LEN: usize = 8 + UserId::MAX_LEN + 1 + DomainName::MAX_LEN + 1;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let command = Command(reader.u8()?);
            let port = reader.u16()?;
            let ip = reader.array::<4>()?;
            let ip = Ipv4Addr::from(ip);
            // The shortest name is one byte and its NUL.
            let behind = if announces_a_name(ip) { 2 } else { 0 };
            let user_id = reader.before(behind, |reader| {
                reader.until_nul((0, UserId::MAX_LEN), DecodeError::UserIdTooLong)
            })?;
            let user_id = UserId(user_id.into());
            let host = if announces_a_name(ip) {
                let too_long = DecodeError::DomainName(DomainNameError::TooLong);
                let name = reader.until_nul((1, DomainName::MAX_LEN), too_long)?;
                Host::from_name_field(name).map_err(DecodeError::from)?
            } else {
                Host::Ip(ip.into())
            };
            Ok(Self {
                command,
                target: Target { host, port },
                user_id,
            })
        })
    }
}

impl Encode for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        let (ip, name) = match &self.target.host {
            Host::Ip(IpAddr::V4(ip)) if !self.is_v4a() => (*ip, None),
            host => (NAME_FOLLOWS, Some(host.to_string())),
        };
        out.extend([VERSION, self.command.0]);
        out.extend(self.target.port.to_be_bytes());
        out.extend(ip.octets());
        out.extend(&self.user_id.0);
        out.push(0);
        if let Some(name) = name {
            out.extend(name.as_bytes());
            out.push(0);
        }
    }
}
