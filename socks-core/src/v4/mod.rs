//! SOCKS4 and SOCKS4a.
//!
//! ```
//! use socks_core::{Decode, Decoded, Encode, v4::{self, UserId}, v5::Command};
//!
//! let request = v4::Request {
//!     command: Command::CONNECT,
//!     target: "example.com:80".parse()?,
//!     user_id: UserId::new(b"joe")?,
//! };
//! assert!(request.is_v4a());
//! let bytes = request.to_bytes();
//! assert_eq!(bytes, b"\x04\x01\x00\x50\x00\x00\x00\x01joe\0example.com\0");
//!
//! // Cut short, it says how much is missing, at least.
//! let cut = v4::Request::decode(&bytes[..4])?;
//! assert_eq!(cut, Decoded::Incomplete { needed: 5 });
//! let consumed = bytes.len();
//! assert_eq!(v4::Request::decode(&bytes)?, Decoded::Complete { message: request, consumed });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod code;
mod reply;
mod request;

pub use code::ReplyCode;
pub(crate) use reply::REPLY_VERSION;
pub use reply::Reply;
pub use request::{Request, UserId};

/// The version byte that begins a request. A reply begins with 0.
pub const VERSION: u8 = 4;
