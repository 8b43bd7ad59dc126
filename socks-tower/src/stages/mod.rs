//! The stages: layers that own the wire, in the order of the protocol, and the
//! ready-made proxies that are made of them.

pub mod authenticate;
pub mod bind;
pub mod command;
pub mod connect;
pub mod handshake;
#[cfg(feature = "http-connect")]
pub mod http_connect;
#[cfg(feature = "http-forward")]
pub mod http_forward;
mod listen_addrs;
pub mod lookup;
pub mod relay;
mod socks;
pub mod udp;

pub use listen_addrs::{ListenAddrs, UnspecifiedError};
pub use socks::{EndsFuture, Socks, Socks4, Socks5, SocksFuture};
