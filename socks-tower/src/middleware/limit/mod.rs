//! Limits: how many connections at once, and how many new ones in a time.
//!
//! It comes with the feature `limit`.
//!
//! [`LiveLimitLayer`] counts what is live: sessions or tunnels, until they end.
//! `RateLimitLayer` (feature `rate-limit`) counts what is new. Each counts all
//! together (`overall`), by where the client is (`per_client`, IPv6 by /64), by
//! who it is (`per_identity`), or by whatever you like (`by`). What is over the
//! limit is refused, or waits if told to.
//!
//! # Example
//!
//! ```
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, Relay, ResolveLayer, Rules,
//!     SystemResolver, TcpConnector, Users, middleware::LiveLimitLayer,
//! };
//! use tower::ServiceBuilder;
//!
//! let connector = ServiceBuilder::new()
//!     .layer(LiveLimitLayer::per_identity(10)) // refuses with a reply
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(TcpConnector::new());
//!
//! let users = Users::new().with("joe", "secret")?;
//! let proxy = ServiceBuilder::new()
//!     .layer(LiveLimitLayer::per_client(100)) // hangs up
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::password(users))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), socks_tower::UsersError>(())
//! ```
#![cfg_attr(
    feature = "rate-limit",
    doc = r#"
New connections, and keys of your own:

```
use std::time::Duration;
use socks_tower::{Request, middleware::{ClientKey, LiveLimitLayer, Rate, RateLimitLayer}};

let per_user = RateLimitLayer::per_identity(Rate::per_second(5).with_burst(20))
    .with_wait(Duration::from_secs(2));

// Two tunnels for each client on each of our addresses.
let per_client_and_address = LiveLimitLayer::by(2, |session| {
    Some((ClientKey::of_session(session)?, session.local_addr?.ip()))
});

// Around a connector a rate may go by the whole request, around a verifier by the
// whole attempt.
let per_target = RateLimitLayer::by(Rate::per_second(50), |request: &Request| {
    Some(request.target.host.clone())
});
```
"#
)]
//! # By what a verifier knows
//!
//! What a verifier has left in the session's `extensions`
//! ([`Admitted::with_extension`](crate::Admitted::with_extension)) may be the key,
//! or choose the limit: a layer for each, of which one has a key. It stands behind
//! authentication, or around the connector (of `Socks`: `with_connect_layer`): before
//! that nothing is known, and what has no key is not limited.
//!
//! ```
//! use socks_tower::{Session, middleware::LiveLimitLayer};
//! use tower::ServiceBuilder;
//!
//! #[derive(Clone, PartialEq, Eq, Hash)]
//! struct Tenant(String);
//! #[derive(Clone, PartialEq)]
//! enum Plan { Free, Gold }
//!
//! /// The tenant, if this is its plan.
//! fn on(plan: Plan) -> impl Fn(&Session) -> Option<Tenant> {
//!     move |session| {
//!         let is_on = session.extensions.get() == Some(&plan);
//!         session.extensions.get().filter(|_| is_on).cloned()
//!     }
//! }
//!
//! let limits = ServiceBuilder::new()
//!     .layer(LiveLimitLayer::by(10, on(Plan::Free)))
//!     .layer(LiveLimitLayer::by(1000, on(Plan::Gold)));
//! ```
//!
//! # Another refusal
//!
//! What a limit refuses is [`Limited`], in an [`Error`](crate::Error) of kind
//! [`ErrorKind::Limited`](crate::ErrorKind::Limited). Around the connector the
//! client hears 01 of it, as SOCKS has no code for it. The first stage has the last
//! word on that, whatever fails:
//! [`HandshakeLayer::with_reply`](crate::HandshakeLayer::with_reply), and
//! `HttpConnectLayer::with_reply` and `with_response` (feature `http-connect`). HTTP says 429 unless told
//! otherwise, and when to come again if a rate was reached.
//!
//! ```
//! use socks_tower::{ErrorKind, HandshakeLayer, ReplyCode};
//!
//! // 02, connection not allowed by ruleset.
//! let handshake = HandshakeLayer::new().with_reply(|error| {
//!     (error.kind() == ErrorKind::Limited).then_some(ReplyCode::CONNECTION_NOT_ALLOWED)
//! });
//! ```
//!
//! Between the stages there is no reply to word: the client sees a close. It is a
//! reset if the client has sent what nobody has read: before the first stage, once
//! its greeting has come.
//!
//! # Where they stand
//!
//! | | between the stages | around the connector | around a verifier |
//! |---|---|---|---|
//! | `LiveLimitLayer` | holds until the session ends | holds until the tunnel ends | does not compile |
//! | `RateLimitLayer` | counts sessions | counts tunnels | counts attempts |
//! | over the limit, the client | sees a close | hears 01, general failure (SOCKS4: 91) | hears `01 01` (SOCKS4: 91) |
//!
//! Before the handshake a limit costs a client the least of ours, but all that
//! is known there is its address. Identities are known behind
//! [`AuthenticateLayer`](crate::AuthenticateLayer) and around the connector;
//! what has no key (nobody asked who it is; a Unix socket has no address) is
//! not limited. Around the connector, a limit stands outside of the resolver,
//! so that what is refused is not looked up first.
//!
//! BIND and UDP ASSOCIATE have no connector, unless they go through another proxy:
//! limit them between the stages.
//!
//! A live limit around what does not say when a connection ends, does not
//! compile:
//!
//! ```compile_fail
//! use socks_tower::{AuthenticateLayer, Users, middleware::LiveLimitLayer};
//! use tower::Layer;
//!
//! AuthenticateLayer::password(LiveLimitLayer::per_client(5).layer(Users::new()));
//! ```
//!
//! tower's `ConcurrencyLimit` around a connector counts dials and not tunnels.
//! As outermost layer of a [`Server`](crate::Server) it is the cheapest limit
//! on all sessions together: it leaves newcomers in the system's queue.
//!
//! # Waiting
//!
//! With `with_wait(max)`, what is over the limit waits in order of arrival, for
//! `max` at most, and is refused then. Those that wait are not bounded in
//! number: each is an open connection, so let an outer limit bound these. A
//! client that waits before its request does so within the deadline of the
//! negotiation. One that hangs up meanwhile is noticed around the connector,
//! and not between the stages.
//!
//! # On several nodes
//!
//! Each process counts for itself. `RedisLimitsLayer` (feature `redis`) has several count
//! together.
//!
//! # Cost and bounds
//!
//! A new connection costs a `RateLimitLayer` a short lock. It costs a
//! `LiveLimitLayer` two, and some 100 bytes while it is live, 16 of them in its
//! task. There is state for 65,536 keys at
//! most, unless set, a hundred bytes or two each. `LiveLimitLayer` has state
//! only for keys that have connections now, `RateLimitLayer` for those that
//! had one lately: it drops the others as keys are added. Where there is no
//! room for another key, its connections are refused: the limits hold, and
//! whoever fills the table (with an IPv6 /48, say) keeps out only those that
//! are not in it.

mod error;
mod key;
mod live;
#[cfg(feature = "rate-limit")]
mod rate;

pub use error::Limited;
pub use key::LimitKey;
#[cfg(feature = "redis")]
pub(super) use key::{KeyOf, MAX_KEYS};
pub use live::{Hold, LiveLimit, LiveLimitFuture, LiveLimitLayer};
#[cfg(feature = "redis")]
pub(super) use rate::Buckets;
#[cfg(feature = "rate-limit")]
pub use rate::{Rate, RateLimit, RateLimitFuture, RateLimitLayer};
