//! UDP ASSOCIATE: relays a client's datagrams.
//!
//! [`UdpAssociate`] ends the session's stack behind
//! [`ByCommand`](crate::ByCommand). It opens a socket for the client's
//! datagrams, tells the client where, and sends each on to the destination that
//! its header names: IPv4, IPv6 or a name, whatever the client's connection runs
//! on. Answers come back with a header that names their real source. It ends
//! with a [`Transfer`](crate::Transfer), which counts datagrams, and what was
//! dropped by [reason](crate::session::DropReason).
//!
//! [`Socks::with_udp`](crate::Socks::with_udp) is the short way to it. A datagram's header
//! is [`socks_core::v5::udp::Header`].
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, ByCommand, ConnectLayer, HandshakeLayer, NoAuth, Permit,
//!     Relay, ResolveLayer, Rules, SystemResolver, TcpConnector, UdpAssociate,
//! };
//! use tower::{Layer, ServiceBuilder};
//!
//! // The same resolver and the same rules for both commands.
//! let judged = ServiceBuilder::new()
//!     .timeout(Duration::from_secs(10))
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()));
//! let connect = ConnectLayer::new(judged.clone().service(TcpConnector::new()));
//! let udp = UdpAssociate::new(judged.service(Permit::new()));
//!
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::new(NoAuth))
//!     .service(ByCommand::new().connect(connect.layer(Relay::new())).udp_associate(udp));
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! # Who may send, and who may answer
//!
//! - Datagrams are the client's if they come from the address that its TCP
//!   connection comes from, and always from the same port: the one that it
//!   declared (DST.PORT of its request), or else that of the first datagram
//!   with a header that can be read. A declared address only counts if it is
//!   the client's own. Behind a NAT it is another, many a client declares
//!   nothing, and a name that is declared is not looked up.
//! - Until the client has sent something, others at its address could be taken
//!   for it: other users of its machine, or others behind its NAT. The protocol
//!   has no remedy but to declare the port.
//! - Only destinations that were sent to may answer, from the address and port
//!   that were sent to, and of those the 1,024 that were in use last
//!   ([`with_max_flows`](UdpAssociate::with_max_flows)). [`with_full_cone`](UdpAssociate::with_full_cone) lets
//!   everybody.
//! - SOCKS4 has no such command: its clients are refused with 91.
//! - A client without an IP address (at a Unix socket) is refused with 02.
//! - A method that wraps the client's stream wraps datagrams too, if it was made to
//!   ([`Admitted::with_datagrams`](crate::Admitted::with_datagrams)): those to and from
//!   the client, their headers included. What it cannot unwrap is dropped.
//!
//! # Where datagrams may go
//!
//! The judge is asked about each new destination, with
//! [`Command::UDP_ASSOCIATE`](crate::Command::UDP_ASSOCIATE) as the command. It
//! is the stack that CONNECT has, with [`Permit`](crate::Permit) at its end; any
//! middleware around it sees the destinations of UDP, too. An answer counts as
//! long as the destination is in use, and for 5 minutes after. Of a name's
//! addresses the first is taken that the system has a route to.
//!
//! A name in use is asked about again after a minute. Its datagrams go on to the
//! old address until the new one is known, and stay there if it still is one of
//! the name's, if the look-up fails, or if the judge denies it.
//!
//! While a name is looked up, other datagrams go on. Four wait for a name, 256
//! KiB for all names of an association, 32 look-ups run at a time, for 10
//! seconds each. A destination that is refused after a wait is not asked about
//! again for 5 seconds.
//!
//! Datagrams to the sockets of any association of this process are dropped, so
//! that none goes in circles.
//!
//! Meters and throttles of the session's [`Policy`](crate::Policy) see the data
//! of datagrams. What a throttle does not grant at once is dropped. One without
//! data is a datagram like others: it is counted, and taken from throttles as a
//! byte.
//!
//! # Through another proxy
//!
//! [`UdpAssociate::through`] has an association of its own at an upstream, for each
//! client's, as a [connector](crate::works::upstream) or a pool of some opens it. A
//! datagram's data passes as it is, and its header as the judge permits it: a name as the
//! client wrote it, if nothing looks it up here.
//!
//! - Who may answer is for the upstream to say: what comes from its relay, from no other
//!   address or port, goes to the client, but for fragments and what has no header.
//! - As strangers may be among those, answers do not keep an association alive.
//! - Datagrams go to the upstream's relay directly, also where its connection leads
//!   through other proxies. The [`Egress`](crate::Egress) is theirs.
//! - All datagrams of an association go one way, which is chosen before their
//!   destinations are known: routes about clients, identities and commands hold for it,
//!   those about targets do not.
//! - The client hears the upstream's code, as of
//!   [CONNECT](crate::works::upstream#replies); 01 if the upstream does not say where it
//!   takes datagrams.
//!
//! # How an association ends
//!
//! With its connection, or the one to an upstream: by FIN, also by one that would be half a close
//! elsewhere, or by a reset. And after 5 minutes in which no datagram went
//! through ([`with_idle_timeout`](UdpAssociate::with_idle_timeout)). Nothing that
//! comes or goes as a datagram ends it: what cannot be read or sent is dropped
//! alone, and so is the news that a peer was not there. What the client sends
//! over the connection means nothing, and is discarded.
//!
//! # What it costs
//!
//! Two descriptors an association, the connection being one; a third and a
//! fourth once it sends over IPv4 and over IPv6. Through another proxy it is four. About 2 KiB, and 300 bytes for
//! each destination, of which there are at most 1,024
//! ([`with_max_flows`](UdpAssociate::with_max_flows)). The buffers are the
//! thread's, 2 MiB of address space: what is used stays, which is 128 KiB if
//! datagrams are small.
//!
//! On Linux up to 32 datagrams are received, and sent, by one system call; those
//! of one length for one address pass through the system as one, if it can cut
//! them up again (`UDP_SEGMENT`). Where a sandbox or a small kernel refuses that,
//! datagrams go one by one, which is logged once as a warning. On the way of a datagram to a known destination
//! nothing is spawned or locked, and nothing allocated but a few bytes for such
//! a run.

mod associate;
mod association;
mod flows;
mod lookups;
mod own;
mod reassembly;
mod service;
mod socket;
mod source;
mod upstream;

pub use associate::AssociateError;
pub use service::{UdpAssociate, UdpAssociateFuture};

/// No datagram carries more over IPv6, and IPv4 carries 20 bytes less.
const MAX_DATAGRAM: usize = u16::MAX as usize - 8;
