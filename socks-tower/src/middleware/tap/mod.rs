//! Looks at the first bytes of tunnels: for a log, or to end those that are not to
//! go on.
//!
//! It comes with the feature `tap`.
//!
//! [`TapLayer`] gives each session a [`Tap`](crate::Tap), which is shown the first
//! bytes of each direction before the other side is given them, and may have them
//! wait until it has seen enough. It leaves it in the
//! session's [`Policy`](crate::Policy), and the relay carries that out: nothing is
//! wrapped, so the bulk behind what is looked at is spliced.
//!
//! Two helpers are for what most taps do: [`Gather`] gives a closure all that has
//! come so far in one piece, and [`Opening`] reads of it the name that a TLS client
//! asks for, or an HTTP client's host.
//!
//! # Example
//!
//! Writes these names into the log, and ends the sessions of one:
//!
//! ```
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, Direction, HandshakeLayer, Look, NoAuth, Relay, Request,
//!     middleware::tap::{Gather, Opening, TapLayer},
//! };
//! use tower::ServiceBuilder;
//!
//! // What it logs stands in the span of its session.
//! let tap = TapLayer::new(|_: &Request| {
//!     Some(Gather::new(Direction::Up, Opening::MOST, |bytes| {
//!         let Some(opening) = Opening::of(bytes) else {
//!             return Look::Hold; // The target hears nothing until there is a name.
//!         };
//!         match opening {
//!             Opening::Tls { server_name: Some(name), .. } => {
//!                 tracing::info!(tls.server_name = %name);
//!                 if name.is_within("blocked.example") {
//!                     return Look::End;
//!                 }
//!             }
//!             Opening::Http { host: Some(host), .. } => tracing::info!(http.host = %host),
//!             _ => {}
//!         }
//!         Look::Enough
//!     }))
//! });
//!
//! # let connector = tower::service_fn(|_: Request| async { Ok::<_, std::io::Error>(tokio::io::duplex(1).0) });
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::new(NoAuth))
//!     .layer(tap)
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! # Where it stands
//!
//! Behind [`AuthenticateLayer`](crate::AuthenticateLayer), before the stage that
//! answers the request, which may be [`ByCommand`](crate::ByCommand). A tap of
//! CONNECT and of BIND is shown the tunnel; datagrams are shown to none.
//! [`Policy::add_tap`](crate::Policy::add_tap) is for a stack that has no such
//! place, as [`Socks`](crate::Socks).
//!
//! # What a client hears of it
//!
//! It has had its reply by then. A session that a tap ends is reset on both sides,
//! with [`End::EndedByTap`](crate::End::EndedByTap) for its end.
//!
//! # What to expect of it
//!
//! * Bytes come in pieces, which whoever sends them cuts. What a tap was shown and
//!   said [`Look::More`](crate::Look::More) to has gone on when the next piece comes. With
//!   [`Look::Hold`](crate::Look::Hold) all of it waits: the target of a denied name hears nothing.
//! * A [`Gather`] looks so far and no further, and most of a TLS client's first
//!   message may stand before its name: give one that looks for an [`Opening`]
//!   [`Opening::MOST`] bytes.
//! * A name is what the client says, not where the tunnel goes: that is in the
//!   request. With Encrypted Client Hello, it is the name of who decrypts it.
//! * Of several requests on a connection only the first is read; of two names
//!   where the protocol allows one, the first. A server takes neither for valid.
//! * What is in no order that [`Opening`] knows is [`Opening::Other`]: who lets only
//!   some names through, ends that too.
//!
//! # What it costs
//!
//! A box for each tap, until it has seen enough, and what it holds back. Meanwhile its direction is copied
//! and not spliced, which is what the first 64 KiB of a tunnel are without a tap,
//! too. A [`Gather`] holds what came in small pieces, up to its bound; what came in
//! one is looked at where it lies.

mod gather;
mod layer;
mod opening;
mod service;

pub use gather::Gather;
pub use layer::TapLayer;
pub use opening::Opening;
pub use service::TapSessions;
