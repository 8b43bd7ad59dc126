//! SOCKS5: RFC 1928, with RFC 1929's passwords and RFC 1961's framing.

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
