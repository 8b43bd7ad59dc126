//! SOCKS4, SOCKS4a and SOCKS5 without I/O: bytes in, bytes and events out.
//!
//! - [`server`] and [`client`] are the two ends of a session as state machines.
//! - [`v4`] and [`v5`] hold the messages, each with [`Decode`] and [`Encode`].
//! - [`Target`], [`Host`] and [`DomainName`] say where a client wants to go, and
//!   [`Credentials`] who it is.
//! - [`proxy_protocol`] is what a load balancer says before all of that.
//!
//! Nothing here reads a socket or a clock, allocates more than one message
//! needs, or panics on any input. Every field without a limit of its own is
//! capped, by a constant of its type.
//!
//! # Example
//!
//! A client and a server, and a buffer each way in the place of a connection.
//! Whoever has a connection writes what lands in the buffers, and keeps what
//! was received until it is consumed.
//!
//! ```
//! use socks_core::{
//!     Decoded, Target,
//!     client::{self, Client, Offer},
//!     server::{self, Server, Versions},
//!     v5::{Command, Method},
//! };
//!
//! /// The message, which is all of `input`.
//! fn whole<T>(decoded: Decoded<T>, input: &mut Vec<u8>) -> T {
//!     match decoded {
//!         Decoded::Complete { message, consumed } => {
//!             input.drain(..consumed);
//!             message
//!         }
//!         Decoded::Incomplete { needed } => panic!("{needed} bytes more, at least"),
//!     }
//! }
//!
//! let target: Target = "example.com:443".parse()?;
//! let mut client = Client::v5(Offer::none(), Command::CONNECT, target.clone());
//! let mut server = Server::new(Versions::ALL);
//! let (mut up, mut down) = (Vec::new(), Vec::new());
//!
//! // The client offers its methods, and the server chooses one.
//! client.start(&mut up)?;
//! let server::Event::Greeting(greeting) = whole(server.receive(&up)?, &mut up) else {
//!     panic!("SOCKS4 has no greeting")
//! };
//! assert!(greeting.offers(Method::NONE));
//! server.select(Method::NONE, &mut down)?;
//! server.authenticated()?;
//!
//! // The client asks for what it wants, and the server grants it.
//! let event = whole(client.receive(&down, &mut up)?, &mut down);
//! assert_eq!(event, client::Event::Advanced);
//! let server::Event::Request(request) = whole(server.receive(&up)?, &mut up) else {
//!     panic!("a greeting comes once")
//! };
//! assert_eq!((request.command, request.target), (Command::CONNECT, target));
//! let bound: Target = "192.0.2.7:50123".parse()?;
//! server.grant(&bound, &mut down)?;
//!
//! let event = whole(client.receive(&down, &mut up)?, &mut down);
//! assert_eq!(event, client::Event::Granted(bound));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//!
//! It has no timers, resolves no names and checks no passwords; it does not
//! carry out commands, nor judge who may give them. It frames GSS-API's tokens
//! ([`v5::gssapi`]) and does not look into them.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
pub mod client;
mod codec;
mod credentials;
mod error;
pub mod proxy_protocol;
pub mod server;
pub mod v4;
pub mod v5;

pub use address::{DomainName, Host, ParseTargetError, Target};
pub use codec::{Decode, Decoded, Encode};
pub use credentials::{Credentials, Password, Username};
pub use error::{DecodeError, DomainNameError, FieldError};
