//! SOCKS4 and SOCKS4a.

mod code;
mod reply;
mod request;

pub use code::ReplyCode;
pub(crate) use reply::REPLY_VERSION;
pub use reply::Reply;
pub use request::{Request, UserId};

/// The version byte that begins a request. A reply begins with 0.
pub const VERSION: u8 = 4;
