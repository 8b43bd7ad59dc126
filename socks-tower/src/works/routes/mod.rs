//! Chooses how a target is reached: directly, through one proxy or another, or not at
//! all.
//!
//! It comes with the feature `routes`.
//!
//! [`Routes`] is a connector over others, of any kinds. It speaks the language of
//! [`Rules`](crate::Rules): the first [`Match`](crate::Match) that holds decides.
//!
//! # Example
//!
//! ```
//! use socks_tower::{
//!     AuthorizeLayer, Match, ResolveLayer, Rules, Socks5Connector, SystemResolver, TcpConnector,
//!     works::{routes::Routes, upstream},
//! };
//! use tower::ServiceBuilder;
//!
//! let direct = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//! let tor = Socks5Connector::new("127.0.0.1:9050".parse()?, upstream::direct());
//! let office = Socks5Connector::new("proxy.example:1080".parse()?, upstream::direct());
//!
//! let routes = Routes::new(direct) // for all that no route is about
//!     .to(Match::any().domain("onion".parse()?), tor)
//!     .deny(Match::any().domain("ads.example".parse()?))
//!     .to(Match::any().domain("example".parse()?).port(443), office.clone())
//!     .to(Match::any().identity("ann"), office);
//! # fn check(_: impl socks_tower::Connector<socks_tower::Request>) {}
//! # check(routes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [pool](super::pool) is a connector like any other, and so are other routes. To
//! change them while they serve, put them into [`ReloadRules`](crate::ReloadRules).
//!
//! # What is judged
//!
//! Routes stand where the target is what the client called it, before anybody looks it
//! up: an upstream proxy does that by itself. So they see what
//! [`NameRules`](crate::NameRules) see, and deny what those deny, whichever route a
//! target would take:
//!
//! - Addresses, in every spelling of theirs, are addresses: `0x7f.1` is loopback, and
//!   denied, as all special-purpose addresses are until they are lifted
//!   ([`Routes::permit_special`]).
//! - `localhost` and other [local names](crate::NameRules) are denied, and names that
//!   are not plain.
//! - A route about a network never holds for a name, wherever that leads. One about
//!   10.0.0.0/8 is for those who ask for such an address; names in there have to be
//!   named. A name that an upstream looks up may lead to its own networks: that
//!   upstream has to judge.
//! - What goes out directly is judged by the rules of its own stack besides, address by
//!   address, as in the example.
//!
//! # What it costs
//!
//! A route is found as a rule is, however many there are. The chosen connector is
//! cloned, readied and called, so that no other one holds a request up, as tower's
//! `Steer` would let it. The stream is a [`BoxStream`](crate::BoxStream): plain TCP in
//! it is spliced, whatever the other routes lead through, and BND.ADDR is known.
//!
//! # Replies
//!
//! A denied target is 02, as by rules. All else is what the chosen connector says.
//!
//! # Other commands
//!
//! [`BindLayer::through`](crate::BindLayer::through) and
//! [`UdpAssociate::through`](crate::UdpAssociate::through) take routes as any connector.
//! What does not lead to a proxy that can, a direct way among it, says 07. A route about
//! targets holds for the peer that BIND expects, and for no destination of datagrams: an
//! association is asked for before those are known, with an unspecified target. Destinations
//! that routes deny are for its judge to deny.

mod service;

pub use service::{Routes, RoutesFuture};
