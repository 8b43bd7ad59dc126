//! SOCKS4, SOCKS4a and SOCKS5 without I/O: bytes in, bytes and events out.
//!
//! - [`v4`] and [`v5`] hold the messages, each with [`Decode`] and [`Encode`].
//! - [`server`] and [`client`] are the two ends as state machines.
//!
//! Nothing here reads a socket or a clock, allocates more than one message
//! needs, or panics on any input. Every field without a limit of its own is
//! capped, by a constant of its type.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
pub mod client;
mod codec;
mod credentials;
mod error;
pub mod server;
pub mod v4;
pub mod v5;

pub use address::{DomainName, Host, ParseTargetError, Target};
pub use codec::{Decode, Decoded, Encode};
pub use credentials::{Credentials, Password, Username};
pub use error::{DecodeError, DomainNameError};
