//! The extensions of version 2: type, length, value.

use alloc::vec::Vec;
use core::fmt;

use super::{ProxyHeaderError, endpoints::UNIX_LEN};
use crate::DecodeError;

/// The extensions of a header, in the order in which they stand.
///
/// Those about the header itself, its padding ([`NOOP`](Self::NOOP)) and its
/// checksum ([`CRC32C`](Self::CRC32C)), are not among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tlvs(
    /// As they are on the wire: whole, and no more than `MAX_LEN` bytes.
    Vec<u8>,
);

impl Tlvs {
    /// The protocol spoken on the connection, as ALPN names it.
    pub const ALPN: u8 = 0x01;
    /// The host name that the client asked for.
    pub const AUTHORITY: u8 = 0x02;
    /// The header's checksum.
    pub const CRC32C: u8 = 0x03;
    /// Padding.
    pub const NOOP: u8 = 0x04;
    /// A name of the connection, of at most 128 bytes.
    pub const UNIQUE_ID: u8 = 0x05;
    /// What is known of the client's TLS.
    pub const SSL: u8 = 0x20;
    /// The network namespace.
    pub const NETNS: u8 = 0x30;

    /// The longest value of [`UNIQUE_ID`](Self::UNIQUE_ID), in bytes.
    const MAX_UNIQUE_ID: usize = 128;

    /// All of them together, in bytes with types and lengths: what a header has
    /// room for beside the longest addresses.
    pub const MAX_LEN: usize = 65_535 - UNIX_LEN;

    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    ///
    /// # Errors
    ///
    /// [`ProxyHeaderError::Extension`] if there is no room for it, if its value
    /// is too long for its type, or if it is about the header itself.
    pub fn with(mut self, kind: u8, value: &[u8]) -> Result<Self, ProxyHeaderError> {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let fits = self.0.len() + 3 + value.len() <= Self::MAX_LEN;
        let meta = matches!(kind, Self::CRC32C | Self::NOOP);
        let valid = kind != Self::UNIQUE_ID || value.len() <= Self::MAX_UNIQUE_ID;
        if !fits || meta || !valid {
            return Err(ProxyHeaderError::Extension(kind));
        }
        self.0.push(kind);
        self.0.extend(len.to_be_bytes());
        self.0.extend(value);
        Ok(self)
    }

    /// Types and values.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.0.as_slice();
        core::iter::from_fn(move || {
            let (kind, value, after) = split(rest)?;
            rest = after;
            Some((kind, value))
        })
    }

    /// The value of the first of type `kind`.
    #[must_use]
    pub fn get(&self, kind: u8) -> Option<&[u8]> {
        self.iter()
            .find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads all of `bytes`; gives the checksum too, if there is one, and where
    /// in `bytes` it stands.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, Option<Checksum>), DecodeError> {
        let mut tlvs = Self::new();
        let mut checksum = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len() + 3;
            let (kind, value, after) = split(rest).ok_or(ProxyHeaderError::Length)?;
            rest = after;
            let malformed = || ProxyHeaderError::Extension(kind);
            match kind {
                Self::NOOP => {}
                Self::CRC32C => {
                    let value = value.try_into().map_err(|_wrong_length| malformed())?;
                    let crc = u32::from_be_bytes(value);
                    if checksum.replace(Checksum { at, crc }).is_some() {
                        return Err(malformed().into());
                    }
                }
                kind => tlvs = tlvs.with(kind, value)?,
            }
        }
        Ok((tlvs, checksum))
    }
}

/// The checksum of a header, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checksum {
    pub(super) at: usize,
    pub(super) crc: u32,
}

/// The first: its type, its value, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk()?;
    let (value, after) = rest.split_at_checked(u16::from_be_bytes([high, low]).into())?;
    Some((kind, value, after))
}

impl fmt::Debug for Tlvs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = |(kind, value): (u8, &[u8])| {
            alloc::format!("{kind:#04x}: \"{}\"", value.escape_ascii())
        };
        f.debug_set().entries(self.iter().map(print)).finish()
    }
}
