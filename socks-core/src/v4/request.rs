//! What a SOCKS4 or SOCKS4a client wants.

use alloc::{boxed::Box, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use super::VERSION;
use crate::{
    DecodeError, DomainName, DomainNameError, Host, Target,
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

    /// Takes `user_id`; none if it is longer than [`MAX_LEN`](Self::MAX_LEN)
    /// or holds a NUL.
    #[must_use]
    pub fn new(user_id: &[u8]) -> Option<Self> {
        let fits = user_id.len() <= Self::MAX_LEN && !user_id.contains(&0);
        fits.then(|| Self(user_id.into()))
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

/// A command, its target and a user id.
///
/// A target that is a name makes it SOCKS4a: it is sent behind the address
/// `0.0.0.1`. SOCKS4 has no IPv6: on the wire such a target becomes SOCKS4a
/// with the address as its name, and is read back as the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do: [`Command::CONNECT`] or [`Command::BIND`].
    pub command: Command,
    /// Where to.
    pub target: Target,
    /// Who the client says it is.
    pub user_id: UserId,
}

impl Decode for Request {
    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let command = Command(reader.u8()?);
            let port = reader.u16()?;
            let ip = reader.array::<4>()?;
            let user_id = reader.until_nul(UserId::MAX_LEN, DecodeError::UserIdTooLong)?;
            let user_id = UserId(user_id.into());
            let host = match ip {
                // 0.0.0.0 itself is an address like any other.
                [0, 0, 0, mark] if mark != 0 => {
                    let too_long = DecodeError::DomainName(DomainNameError::TooLong);
                    let name = reader.until_nul(DomainName::MAX_LEN, too_long)?;
                    Host::from_name_field(name).map_err(DecodeError::from)?
                }
                ip => Host::Ip(IpAddr::V4(Ipv4Addr::from(ip))),
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
        use alloc::string::ToString;

        const NAME_FOLLOWS: [u8; 4] = [0, 0, 0, 1];

        let (ip, name) = match &self.target.host {
            // These addresses cannot be said but as names.
            Host::Ip(IpAddr::V4(ip)) if matches!(ip.octets(), [0, 0, 0, 1..=255]) => {
                (NAME_FOLLOWS, Some(ip.to_string()))
            }
            Host::Ip(IpAddr::V4(ip)) => (ip.octets(), None),
            Host::Ip(IpAddr::V6(ip)) => (NAME_FOLLOWS, Some(ip.to_string())),
            Host::Name(name) => (NAME_FOLLOWS, Some(name.to_string())),
        };
        out.extend([VERSION, self.command.0]);
        out.extend(self.target.port.to_be_bytes());
        out.extend(ip);
        out.extend(&self.user_id.0);
        out.push(0);
        if let Some(name) = name {
            out.extend(name.as_bytes());
            out.push(0);
        }
    }
}
