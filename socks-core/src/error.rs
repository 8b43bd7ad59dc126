//! What can be wrong with received bytes.

use thiserror::Error;

/// The bytes received cannot be the message expected.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The version byte has another value than this message's.
    #[error("version is {found:#04x}, expected {expected:#04x}")]
    Version {
        /// What the message must begin with.
        expected: u8,
        /// What it begins with.
        found: u8,
    },
    /// The address type (ATYP) is none of RFC 1928's.
    #[error("address type {0:#04x} is not known")]
    AddressType(u8),
    /// A name field does not hold a name.
    #[error(transparent)]
    DomainName(#[from] DomainNameError),
    /// A SOCKS4 user id goes on past its cap.
    #[error("user id is longer than {} bytes", crate::v4::UserId::MAX_LEN)]
    UserIdTooLong,
    /// The message type of an RFC 1961 frame is none of the RFC's.
    #[error("GSS-API message type {0:#04x} is not known")]
    GssapiMessageType(u8),
    /// The bytes are no header of the PROXY protocol.
    #[error(transparent)]
    ProxyHeader(#[from] crate::proxy_protocol::ProxyHeaderError),
}

/// A value does not fit its field.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldError {
    /// It is longer than the field can say.
    #[error("{field} is longer than {max}")]
    #[non_exhaustive]
    TooLong {
        /// Which field.
        field: &'static str,
        /// The most that it holds: bytes, or methods.
        max: usize,
    },
    /// A NUL, which would end the field.
    #[error("{field} holds a NUL")]
    #[non_exhaustive]
    Nul {
        /// Which field.
        field: &'static str,
    },
}

impl FieldError {
    /// Whether `len` is no more than `max`.
    pub(crate) fn bound(field: &'static str, len: usize, max: usize) -> Result<(), Self> {
        match len <= max {
            true => Ok(()),
            false => Err(Self::TooLong { field, max }),
        }
    }
}

/// A string is no host name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DomainNameError {
    /// It is empty, or one of its labels is: a lone dot, a dot in front, two
    /// dots in a row.
    #[error("domain name is empty or has an empty label")]
    Empty,
    /// It is longer than a one-byte length can say.
    #[error("domain name is longer than {} bytes", crate::DomainName::MAX_LEN)]
    TooLong,
    /// It is not UTF-8.
    #[error("domain name is not UTF-8")]
    NotUtf8,
    /// It holds a NUL, a control character, a space, or a character that
    /// delimits a host elsewhere, such as a colon or a slash.
    #[error("domain name holds a control character, a space or a delimiter")]
    Forbidden,
    /// It spells an IP address, so that it is no name.
    #[error("domain name is an IP address")]
    IpAddress,
}
