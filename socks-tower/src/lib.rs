//! Proxies as [tower] stacks: SOCKS4, SOCKS4a and SOCKS5 in layers that can be
//! stacked, swapped and wrapped.
//!
//! ```no_run
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, Relay, ResolveLayer,
//!     Rules, Server, SystemResolver, TcpConnector, Users,
//! };
//! use tower::ServiceBuilder;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // How targets are reached. Plain tower: no socket, no reply, any middleware.
//!     let connector = ServiceBuilder::new()
//!         .timeout(Duration::from_secs(10))
//!         .layer(ResolveLayer::new(SystemResolver::new())) // names -> addresses
//!         .layer(AuthorizeLayer::new(Rules::new()))        // who may reach what
//!         .service(TcpConnector::new());
//!
//!     // What happens to a client, in the order of the protocol.
//!     let users = Users::new().with("joe", "secret")?;
//!     let proxy = ServiceBuilder::new()
//!         .layer(HandshakeLayer::new())               // which version, which methods
//!         .layer(AuthenticateLayer::password(users))  // who it is, what it wants
//!         .layer(ConnectLayer::new(connector))        // reach the target, reply
//!         .service(Relay::new());                     // carry bytes both ways
//!
//!     Server::bind("127.0.0.1:1080").await?.serve(proxy).await?;
//!     Ok(())
//! }
//! ```
//!
//! ```toml
//! [dependencies]
//! socks-tower = "0.1.0"
//! tokio = { version = "1.49", features = ["macros", "rt-multi-thread"] }
//! tower = { version = "0.5.2", features = ["limit", "timeout", "util"] }
//! ```
//!
//! The examples of these pages use these and, some of them, `tracing`, Tokio's
//! features `io-util`, `net`, `signal` and `time`, and tower's `filter`. Each page of a
//! feature names it.
//!
//! In a hurry? [`Socks5`], [`Socks4`] and [`Socks`] (all versions on one port)
//! are this stack with safe defaults: `Server::bind(addr).await?.serve(Socks::new()).await?`.
//! [`with_bind`](Socks::with_bind), [`with_udp`](Socks::with_udp) and
//! [`with_lookups`](Socks::with_lookups) serve the other commands;
//! [`with_upstream`](Socks::with_upstream) sends all through another proxy.
//!
//! # Two stacks: one owns the wire, one never sees it
//!
//! A stage is a **layer that owns the wire** and a **service that does the
//! work**.
//!
//! - The layers of the *session's stack* read and write the client's bytes,
//!   call the work, and tell the client in its own protocol when the work
//!   fails. What travels between them says what is known by then, so a wrong
//!   order does not compile: [`Accepted`] → [`Greeted`] → [`Requested`] →
//!   [`Connected`] → [`Transfer`].
//! - The *work* (verifier, resolver, authorizer, connector) is a plain tower
//!   service with a small typed request. It never sees the client's socket, so
//!   any middleware can wrap it, and its errors become replies
//!   ([`Error::reply`] has the table).
//!
//! | stage | layer | its work |
//! |---|---|---|
//! | what does the client speak? | [`HandshakeLayer`] | |
//! | who is it, what does it want? | [`AuthenticateLayer`] | a verifier: `Service<Attempt>` → an [`Identity`], or an [`Admitted`] |
//! | reach the target | [`ConnectLayer`] | a [`Connector`]: `Service<Request>` → a stream |
//! | … its addresses | [`ResolveLayer`] | a [`Resolver`]: `Service<Request<DomainName>>` → addresses |
//! | … may it? | [`AuthorizeLayer`] | an [`Authorizer`]: `Service<Request<Pinned>>` → the request |
//! | … or wait for a peer | [`BindLayer`] behind [`ByCommand`] | a [`Judge`]: the connector's stack, with [`Permit`] in its place |
//! | carry bytes | [`Relay`] | |
//! | … or datagrams | [`UdpAssociate`] behind [`ByCommand`] | a judge, as for [`BindLayer`] |
//!
//! **Where a middleware stands decides what the client sees of its failure.**
//! Around a work, the failure becomes a reply. Between the stages it acts on
//! the connection, and the client sees it close.
//!
//! # What is where
//!
//! | | at the root, and in |
//! |---|---|
//! | ready-made: [`Socks`], [`Socks5`], [`Socks4`] | [`stages`] |
//! | what serves: [`Server`], [`ThreadedServer`], [`Listener`] | [`server`] |
//! | the stages: [`HandshakeLayer`], [`AuthenticateLayer`], [`ConnectLayer`], [`Relay`]; [`ByCommand`], [`BindLayer`], [`UdpAssociate`], [`TorResolve`] | [`stages`] |
//! | who may come: [`Users`], [`ReloadUsers`], `VerifyPasswords`, [`NoAuth`], [`UsernamePassword`], [`AuthMethod`], [`Attempt`], [`Identity`] | [`stages::authenticate`], and the page `guide::own_authentication` |
//! | the works: [`ResolveLayer`], [`SystemResolver`] and `DnsResolver`, [`AuthorizeLayer`] and [`Rules`], [`TcpConnector`] | [`works`] |
//! | … by which address, interface and mark: [`Egress`] | [`works::egress`] |
//! | … through other proxies: [`Socks5Connector`], [`Socks4Connector`], [`ProxyConnector`] and [`ProxyUrl`] | [`works::upstream`] |
//! | … through one of many: `UpstreamPool`, `Routes` | [`works`], and the page `guide::through_another_proxy` |
//! | what travels: [`Accepted`], [`Greeted`], [`Requested`], [`Connected`], [`Transfer`]; [`Session`], [`Request`], [`Pinned`] | [`session`] |
//! | the two ends: [`Inbound`], [`Outbound`]; [`Stream`] | [`session`] |
//! | what fails: [`Error`], [`ErrorKind`], [`Refusal`], [`DialError`] | [`session`] |
//! | bounds said once: [`Stage`], [`Work`], [`Connector`], [`Resolver`], [`Authorizer`], [`Judge`], [`Proxy`] | [`session`] |
//! | bytes seen and held back: [`Policy`], [`Meter`], [`Throttle`], [`Tap`], [`Look`] | [`session::policy`] |
//!
//! Middleware is in [`middleware`], what stands before the first stage in
//! [`front`].
//!
//! # Middleware
//!
//! tower's own goes around any work, and in front. What a proxy needs besides is
//! in [`middleware`] and [`front`], and stands so, from the outside in; SOCKS5's codes, for each of which SOCKS4 says 91:
//!
//! | middleware | where it stands | what a client hears of it |
//! |---|---|---|
//! | [`ObserveLayer`](middleware::ObserveLayer), `AccessLogLayer`, `MetricsLayer` | outermost | nothing |
//! | `ProxyProtocolLayer` | before TLS and the first stage | a close |
//! | `TlsLayer` | before the first stage | TLS's alert |
//! | `LiveLimitLayer`, `RateLimitLayer` | between the stages, or around the connector | a close, or 01; or it waits |
//! | `RedisLimitsLayer` | as both of these | a close, or 01 |
//! | `LockoutLayer` | around a verifier, its gate before the first stage | the method's refusal, or a close |
//! | `AuthCacheLayer` | around a verifier, within the lock-out | nothing |
//! | `HttpConnectLayer`, `HttpForwardLayer` | in the place of the SOCKS stages, or beside them | HTTP's statuses |
//! | `RegisterLayer` | behind authentication | a close, if its session is ended |
//! | `QuotaLayer` | behind authentication | 02, and a close where the last byte was |
//! | `BandwidthLayer` | between the stages, or before the first | nothing: it is slow |
//! | `TapLayer` | behind authentication | a close, if its session is ended |
//! | `SendProxyHeaderLayer` | around the connector | what a failed dial is |
//! | [`Rules`], [`NameRules`], [`ReloadRules`], `LoopGuard` | in an [`AuthorizeLayer`], around the connector | 02 |
//!
//! Most come with features: the [list](#features) says which with which.
//!
//! A close is a reset where the client has sent what nobody has read: before the
//! first stage, once its greeting has come.
//!
//! With all of them but TLS, the PROXY protocol and HTTP, a connection costs 1.10
//! times the CPU that it does with none: measured side by side, as the
//! benchmarks' README says.
//!
//! # Your own middleware
//!
//! Around a work it is any tower middleware: a [`Refusal`] chooses the reply,
//! and any other error becomes one. Written for any `Request<T>`, it stands on either
//! side of [`ResolveLayer`]; the page of [`HasSession`] has a whole one. Between the stages it is a service that
//! takes what the stage before it hands on. Behind [`AuthenticateLayer`] that is
//! a [`Requested`], whose client waits for its reply and can be given one:
//!
//! ```
//! use std::{
//!     sync::{Arc, atomic::{AtomicBool, Ordering}},
//!     task::{Context, Poll},
//! };
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, Error, ErrorKind, HandshakeLayer, NoAuth, Relay, Requested,
//!     Stage, StageFuture, Stream,
//! };
//! # use socks_tower::{BoxError, Request};
//! use tower::{Service, ServiceBuilder, layer::layer_fn};
//!
//! /// While it is on, all requests are refused: 01, general failure.
//! #[derive(Clone)]
//! struct Maintenance<S> {
//!     on: Arc<AtomicBool>,
//!     inner: S,
//! }
//!
//! impl<Io: Stream, S: Stage<Requested<Io>>> Service<Requested<Io>> for Maintenance<S> {
//!     type Response = S::Response;
//!     type Error = Error;
//!     type Future = StageFuture<S::Future>;
//!
//!     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
//!         Poll::Ready(Ok(())) // `StageFuture` readies `inner`.
//!     }
//!
//!     fn call(&mut self, requested: Requested<Io>) -> Self::Future {
//!         let on = self.on.load(Ordering::Relaxed);
//!         let own = async move {
//!             if on {
//!                 let error = Error::new(ErrorKind::Other, "down for maintenance");
//!                 return Err(requested.client.refuse(error).await);
//!             }
//!             Ok(requested)
//!         };
//!         StageFuture::new(own, self.inner.clone())
//!     }
//! }
//!
//! let on = Arc::new(AtomicBool::new(false));
//! # let connector = tower::service_fn(|_: Request| async { Ok::<_, BoxError>(tokio::io::duplex(1).0) });
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::new(NoAuth))
//!     .layer(layer_fn(|inner| Maintenance { on: Arc::clone(&on), inner }))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! A layer that wants no more than to know the client stands anywhere: see
//! [`HasSession`].
//!
//! How it refuses: [`Error::new`] with [`ErrorKind::Denied`] is 02 to the client and
//! `denied` in the log; with a [`Refusal`] as its source, the code is that one's and
//! the kind still yours. [`HandshakeLayer::with_reply`] has the last word for
//! everything that fails, our own middleware too. Days on which a proxy is closed
//! need no layer: [`Match::during`] is a condition of a rule, and
//! [`Rules::with_clock`] tests it.
//!
//! # Through another proxy
//!
//! A connector may reach its targets through other proxies, be it at the end of a
//! stack or for a client such as hyper's: [`works::upstream`] shows how, from one
//! proxy to chains, pools and routes.
//!
//! # In operation
//!
//! - [`ReloadRules`] are replaced while tunnels live; a [`Group`] comes from a
//!   file, a [`Window`] says when a rule holds.
//! - Every session ends in one [`tracing`] event, `socks::access`
//!   ([`observe`](middleware::observe) lists its fields). `AccessLogLayer` writes a line for each,
//!   `MetricsLayer` counts them, and an
//!   [`Observer`](middleware::Observer) of your own is told all.
//! - [`Server`] and [`ThreadedServer`] stop when told to, and let sessions end
//!   within a grace period.
//!
//! # Safe by default
//!
//! [`Rules`] see the addresses that will be dialled, and the connector may dial
//! no others: a name that resolves differently a moment later changes nothing.
//! Loopback, private and other special-purpose targets are denied unless
//! lifted. One deadline bounds the whole negotiation. Passwords are compared
//! in constant time, zeroed when dropped, and never logged.
//!
//! # Where it runs
//!
//! It is tested on Linux, and kept compiling for Windows, macOS, FreeBSD, Android
//! and 32-bit Arm. Three things are Linux's alone. Elsewhere [`Relay`] copies bulk
//! instead of splicing it, [`UdpAssociate`] moves each datagram by a system call of
//! its own, and a [`ThreadedServer`] has one thread: a [`Server`] on Tokio's
//! multi-thread runtime uses them all.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `splice` | yes | `splice(2)` for bulk data between plain TCP sockets, on Linux |
//! | `dns` | no | `DnsResolver`: asks DNS servers itself, over UDP and TCP, by hickory |
//! | `dns-over-tls`, `dns-over-https` | no | and over those, by rustls with ring, which is built with `cc` |
//! | `dnssec` | no | and validates, with ring |
//! | `reverse-lookup` | no | `SystemResolver::reverse`: the names of addresses, for RESOLVE_PTR |
//! | `limit` | no | `LiveLimitLayer`: how many connections at once, in all, per client, per identity |
//! | `rate-limit` | no | `RateLimitLayer`: how many new ones in a time; turns `limit` on |
//! | `lockout` | no | `LockoutLayer`: locks out clients that fail to authenticate again and again |
//! | `auth-cache` | no | `AuthCacheLayer`: remembers for a while whom a verifier has let in |
//! | `ident` | no | `Ident`: asks a SOCKS4 client's host whose connection it is (RFC 1413) |
//! | `password-file` | no | `VerifyPasswords`: users whose passwords are hashed, as `htpasswd` does: bcrypt, SHA-crypt, argon2 |
//! | `loop-guard` | no | `LoopGuard`: keeps the proxy from connecting to itself |
//! | `sessions` | no | `RegisterLayer`: lists the live sessions, and ends one |
//! | `access-log` | no | `AccessLogLayer`: a line for each session, in 3proxy's form or JSON |
//! | `metrics` | no | `MetricsLayer`: sessions, bytes, failures and latencies, by the `metrics` facade |
//! | `bandwidth` | no | `BandwidthLayer`: bytes and datagrams per second of a tunnel, a client, a user, and all |
//! | `quota` | no | `QuotaLayer`: bytes per day or month of a client, a user, or all |
//! | `redis` | no | `RedisLimitsLayer`: limits that several nodes count together, on Redis; turns `rate-limit`, `lockout`, `quota` and `sessions` on |
//! | `tap` | no | `TapLayer`: looks at the first bytes of tunnels, for TLS server names and HTTP hosts |
//! | `http-connect` | no | `HttpConnectLayer`: HTTP CONNECT, alone or on the same port as SOCKS; `HttpConnector`: through a proxy that speaks it |
//! | `http-forward` | no | `HttpForwardLayer`: plain HTTP requests on the same connections, by hyper; turns `http-connect` on |
//! | `hyper` | no | connectors through proxies, for the clients of hyper-util and tonic |
//! | `proxy-protocol` | no | `ProxyProtocolLayer` and `SendProxyHeaderLayer`: the PROXY protocol, versions 1 and 2, in and out |
//! | `tls` | no | `TlsLayer`: TLS in front of everything; `TlsConnector` and `https://` proxies; by rustls and the caller's configuration |
//! | `x509` | no | `PeerCertificates::serial` and `common_name`: what a client's certificate says; turns `tls` on |
//! | `upstream-pool` | no | `UpstreamPool`: many upstream proxies as one connector |
//! | `routes` | no | `Routes`: one of several connectors, by what is asked for |
//! | `time-zones` | no | windows of rules in local time and in named time zones; UTC and fixed offsets need nothing |
//! | `gssapi` | no | `GssApi` and `GssApiClient`: authentication by Kerberos, and protection of what follows (RFC 1961). Needs MIT's library and `libclang` |
//! | `test-util` | no | `test_util`: a client in memory, and what clients hear of an error; for tests. Turns `http-connect` on |
//! | `full` | no | all of these but `gssapi` and `test-util` |

// docs.rs says of each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod front;
#[cfg(all(
    feature = "auth-cache",
    feature = "dns-over-tls",
    feature = "http-connect",
    feature = "ident",
    feature = "lockout",
    feature = "routes",
    feature = "upstream-pool"
))]
pub mod guide;
pub mod middleware;
pub mod server;
pub mod session;
pub mod stages;
#[cfg(test)]
mod test_support;
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod works;

/// For an [`AuthMethod`] of your own.
pub use async_trait::async_trait;
/// What a [`Session`] carries besides what this crate knows of.
pub use http::Extensions;
/// Networks, as rules and PROXY senders are given.
pub use ipnet::IpNet;
#[doc(inline)]
pub use server::{Listener, Proxy, ServeError, Server, TcpAcceptor, ThreadedServer};
#[doc(inline)]
pub use session::{
    Accepted, AuthenticatedBy, Authorizer, BoxError, BoxStream, ClientStream, Connected, Connector,
    DatagramWrapper, DialError, Dialect, Direction, End, Error, ErrorKind, Grant, Greeted,
    HasSession, Identity, Inbound, IntoOutbound, Judge, Keepalive, Look, Meter, Negotiation,
    Outbound, Pinned, Policy, Protocol, Refusal, RefusalError, Reply, Request, Requested, Resolver,
    Rewind, Session, SessionId, Stage, StageFuture, State, Stream, Tap, Throttle, Transfer, Work,
};
/// The protocol by itself. It is re-exported whole, so that its version is ours.
pub use socks_core;
#[doc(inline)]
pub use socks_core::{
    Credentials, Decode, DecodeError, Decoded, DomainName, DomainNameError, Encode, FieldError,
    Host, ParseTargetError, Password, Target, Username,
    server::{Version, Versions},
    v4,
    v5::{Command, Method, ReplyCode},
};
#[cfg(any(feature = "gssapi", docsrs, test))]
#[cfg_attr(docsrs, doc(cfg(feature = "gssapi")))]
#[doc(inline)]
pub use stages::authenticate::gssapi::{GssApi, GssApiError, Principal, Protection};
#[cfg(feature = "password-file")]
#[doc(inline)]
pub use stages::authenticate::password_file::{HashedUsers, VerifyPasswords};
#[cfg(feature = "http-connect")]
#[doc(inline)]
pub use stages::http_connect::{ByProtocol, ByProtocolLayer, HttpConnect, HttpConnectLayer};
#[cfg(feature = "http-forward")]
#[doc(inline)]
pub use stages::http_forward::{HttpForward, HttpForwardLayer};
#[doc(inline)]
pub use stages::{
    ListenAddrs, Socks, Socks4, Socks5, UnspecifiedError,
    authenticate::{
        Admitted, Attempt, AuthMethod, Authenticate, AuthenticateLayer, IntoAdmitted, NoAuth,
        ReloadUsers, UsernamePassword, Users, UsersError, WrongCredentials,
    },
    bind::{Bind, BindError, BindLayer},
    command::ByCommand,
    connect::{Connect, ConnectLayer},
    handshake::{Handshake, HandshakeLayer},
    lookup::{TorResolve, TorResolvePtr},
    relay::Relay,
    udp::{AssociateError, UdpAssociate},
};
#[cfg(feature = "loop-guard")]
#[doc(inline)]
pub use works::authorize::LoopGuard;
#[cfg(feature = "upstream-pool")]
#[doc(inline)]
pub use works::pool::UpstreamPool;
#[cfg(feature = "dns")]
#[doc(inline)]
pub use works::resolve::{DnsResolver, DnsServer, DnsServerError};
#[cfg(feature = "http-forward")]
#[doc(inline)]
pub use works::reuse::{Reuse, ReuseLayer};
#[cfg(feature = "routes")]
#[doc(inline)]
pub use works::routes::Routes;
#[cfg(any(feature = "gssapi", docsrs, test))]
#[cfg_attr(docsrs, doc(cfg(feature = "gssapi")))]
#[doc(inline)]
pub use works::upstream::GssApiClient;
#[cfg(feature = "http-connect")]
#[doc(inline)]
pub use works::upstream::HttpConnector;
#[doc(inline)]
pub use works::{
    authorize::{
        Authorize, AuthorizeLayer, Denied, Group, GroupError, Match, NameRules, Permit,
        ReloadRules, RuleSet, Rules, SpecialPurpose, Window, WindowError,
    },
    egress::Egress,
    resolve::{
        Answer, Cache, CacheLayer, Hosts, HostsLayer, LookupError, Resolve, ResolveLayer,
        SystemResolver,
    },
    tcp::{ConnectError, TcpConnector},
    upstream::{
        ProxyConnector, ProxyUrl, Socks4Connector, Socks5Connector, UpstreamError, UpstreamFailure,
    },
};

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
