//! Framing of the GSS-API method (RFC 1961 sections 3 to 5): tokens go in,
//! tokens come out, nothing here knows what is in them.
//!
//! ```
//! use socks_core::{Encode, v5::gssapi::{Message, MessageType, Token}};
//!
//! let message = Message::Token {
//!     message_type: MessageType::Context,
//!     token: Token::new(b"token".to_vec()).map_err(|_| "too long")?,
//! };
//! assert_eq!(message.to_bytes(), b"\x01\x01\x00\x05token");
//! # Ok::<(), &str>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use crate::{
    DecodeError, FieldError,
    codec::{Decode, Decoded, Encode, Reader, Stop},
};

const VERSION: u8 = 1;
const ABORT: u8 = 0xff;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// A token of the context's set-up (`mtyp` 1).
    Context,
    /// The protection level, wrapped (`mtyp` 2).
    ProtectionLevel,
    /// Data under the protection agreed on (`mtyp` 3).
    Data,
}

impl MessageType {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Context => 1,
            Self::ProtectionLevel => 2,
            Self::Data => 3,
        }
    }
}

/// An opaque token of at most 65,535 bytes.
///
/// It prints as its length: what it holds may be proof of who somebody is.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

impl Token {
    /// The longest token, in bytes: what the two-byte length can say.
    pub const MAX_LEN: usize = 65_535;

    /// Takes `token`.
    ///
    /// # Errors
    ///
    /// If it is longer than [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(token: Vec<u8>) -> Result<Self, FieldError> {
        FieldError::bound("token", token.len(), Self::MAX_LEN)?;
        Ok(Self(token))
    }

    /// The token's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token's bytes, owned.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

/// What stands before a token, for whoever takes tokens where they lie. An abort has
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the token is for.
    pub message_type: MessageType,
    /// How long it is, in bytes.
    pub len: u16,
}

impl Header {
    /// Its own length, in bytes.
    pub const LEN: usize = 4;

    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Stop> {
        reader.expect_version(VERSION)?;
        let message_type = match reader.u8()? {
            1 => MessageType::Context,
            2 => MessageType::ProtectionLevel,
            3 => MessageType::Data,
            ABORT => return Ok(None),
            other => return Err(DecodeError::GssapiMessageType(other).into()),
        };
        let len = reader.u16()?;
        Ok(Some(Self { message_type, len }))
    }
}

impl Decode for Header {
    type Error = DecodeError;

    const MIN_LEN: usize = Self::LEN;
    const MAX_LEN: usize = Self::LEN;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            let header = Self::read(reader)?;
            Ok(header.ok_or(DecodeError::GssapiMessageType(ABORT))?)
        })
    }
}

impl Encode for Header {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([VERSION, self.message_type.to_byte()]);
        out.extend(self.len.to_be_bytes());
    }
}

/// One message of the sub-negotiation, or of the protected stream after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A token.
    Token {
        /// What the token is for.
        message_type: MessageType,
        /// The token.
        token: Token,
    },
    /// The server refuses the client: `01 ff`, and no more.
    Abort,
}

impl Decode for Message {
    type Error = DecodeError;

    /// [`Abort`](Self::Abort).
    const MIN_LEN: usize = 2;
    const MAX_LEN: usize = 4 + Token::MAX_LEN;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            let Some(Header { message_type, len }) = Header::read(reader)? else {
                return Ok(Self::Abort);
            };
            let token = Token(reader.take(len.into())?.to_vec());
            Ok(Self::Token {
                message_type,
                token,
            })
        })
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Token {
                message_type,
                token,
            } => {
                let header = Header {
                    message_type: *message_type,
                    len: u16::try_from(token.0.len()).unwrap_or(u16::MAX),
                };
                header.encode(out);
                out.extend(&token.0);
            }
            Self::Abort => out.extend([VERSION, ABORT]),
        }
    }
}
