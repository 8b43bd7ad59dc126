//! SOCKS5: RFC 1928, with RFC 1929's passwords and RFC 1961's framing.
//!
//! ```
//! use socks_core::{Decode, Decoded, v5::{Reply, ReplyCode}};
//!
//! let input = b"\x05\x00\x00\x01\xc0\x00\x02\x07\x1f\x90220 ready";
//! let Decoded::Complete { message, consumed } = Reply::decode(input)? else {
//!     panic!("a whole reply")
//! };
//! assert_eq!(message.code, ReplyCode::SUCCEEDED);
//! assert_eq!(message.bound, "192.0.2.7:8080".parse()?);
//! assert_eq!(&input[consumed..], b"220 ready");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
pub(crate) mod code;
mod greeting;
pub mod gssapi;
mod password;
mod request;
pub mod udp;

pub use code::{Command, Method, ReplyCode};
pub use greeting::{Greeting, Selection};
pub use password::{PasswordReply, PasswordRequest};
pub use request::{Reply, Request};

/// The version byte that begins greeting, selection, request and reply.
pub const VERSION: u8 = 5;
