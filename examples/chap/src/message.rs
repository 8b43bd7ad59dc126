//! The messages of draft-ietf-aft-socks-chap-01: a version, a count, and as many
//! attributes, in any order.
//!
//! ```text
//! 01 | NAVAS | { ATT(1) | LEN(1) | VAL(0..255) } ...
//! ```

use std::{collections::BTreeMap, error::Error, fmt};

use socks_tower::{Decode, Decoded, Encode};

const VERSION: u8 = 1;

pub const STATUS: u8 = 0x00;
pub const USER_IDENTITY: u8 = 0x02;
pub const CHALLENGE: u8 = 0x03;
pub const RESPONSE: u8 = 0x04;
pub const ALGORITHMS: u8 = 0x11;

/// The algorithm that all must have.
pub const HMAC_MD5: u8 = 0x85;

/// One message: what of it nobody asks for is ignored, as the draft wants it.
#[derive(Default, PartialEq)]
pub struct Message {
    attributes: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// The draft knows eight attributes. What has more is no client's, and would be
    /// 64 KiB to wait for.
    const MOST: u8 = 16;

    pub fn new() -> Self {
        Self::default()
    }

    /// The client, or the proxy, is let in or not.
    pub fn status(is_good: bool) -> Self {
        Self::new().with(STATUS, &[u8::from(!is_good)])
    }

    /// Of a value that is longer than 255 bytes, the first 255.
    pub fn with(mut self, attribute: u8, value: &[u8]) -> Self {
        let value = value.iter().copied().take(255).collect();
        self.attributes.insert(attribute, value);
        self
    }

    pub fn get(&self, attribute: u8) -> Option<&[u8]> {
        self.attributes.get(&attribute).map(Vec::as_slice)
    }

    /// What it says in the way of a status.
    pub fn is_good(&self) -> Option<bool> {
        self.get(STATUS).map(|status| status == [0])
    }
}

/// Why bytes are no message.
#[derive(Debug, PartialEq)]
pub enum Malformed {
    Version,
    TooMany,
    Twice,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "not of CHAP's version 1",
            Self::TooMany => "more attributes than CHAP has",
            Self::Twice => "the same attribute twice",
        })
    }
}

impl Error for Malformed {}

impl Decode for Message {
    type Error = Malformed;
    const MIN_LEN: usize = 2;
    const MAX_LEN: usize = 2 + Self::MOST as usize * (2 + 255);

    fn decode(input: &[u8]) -> Result<Decoded<Self>, Malformed> {
        if input.first().is_some_and(|version| *version != VERSION) {
            return Err(Malformed::Version);
        }
        let [_, count, rest @ ..] = input else {
            let needed = Self::MIN_LEN - input.len();
            return Ok(Decoded::Incomplete { needed });
        };
        if *count > Self::MOST {
            return Err(Malformed::TooMany);
        }
        let mut message = Self::new();
        let mut rest = rest;
        for _ in 0..*count {
            let [attribute, len, behind @ ..] = rest else {
                let needed = 2 - rest.len();
                return Ok(Decoded::Incomplete { needed });
            };
            let len = usize::from(*len);
            let Some((value, behind)) = behind.split_at_checked(len) else {
                let needed = len - behind.len();
                return Ok(Decoded::Incomplete { needed });
            };
            let earlier = message.attributes.insert(*attribute, value.to_vec());
            if earlier.is_some() {
                return Err(Malformed::Twice);
            }
            rest = behind;
        }
        let consumed = input.len() - rest.len();
        Ok(Decoded::Complete { message, consumed })
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        let count = self.attributes.len().try_into().unwrap_or(u8::MAX);
        out.extend([VERSION, count]);
        for (attribute, value) in &self.attributes {
            let len = value.len().try_into().unwrap_or(u8::MAX);
            out.extend([*attribute, len]);
            out.extend(value);
        }
    }
}
