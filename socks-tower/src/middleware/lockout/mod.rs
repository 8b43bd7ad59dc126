//! Locks out clients that fail to authenticate again and again.
//!
//! It comes with the feature `lockout`.
//!
//! [`LockoutLayer`] stands around a verifier, and counts how often it says no
//! to a client (IPv6 by /64). After 5 failures the client is locked out for a
//! minute: it is refused without asking the verifier, in the method's own
//! words. Each failure after that locks it out for twice as long, up to an
//! hour. A success clears the count; so do 10 minutes without a failure.
//! [`LockoutLayer::by`] counts by something else, such as the name in an
//! [`Attempt`](crate::Attempt).
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, HandshakeLayer, Relay, Users,
//!     middleware::LockoutLayer,
//! };
//! use tower::{Layer, ServiceBuilder};
//!
//! let lockout = LockoutLayer::new()
//!     .with_max_failures(3_u32.try_into()?)
//!     .with_first_lock(Duration::from_secs(30))
//!     .with_longest_lock(Duration::from_secs(24 * 60 * 60));
//!
//! let users = Users::new().with("joe", "secret")?;
//! # let connector = tower::service_fn(|_: socks_tower::Request| async { Ok::<_, std::io::Error>(tokio::io::duplex(1).0) });
//! let proxy = ServiceBuilder::new()
//!     .layer(lockout.gate()) // hangs up on those that are locked out
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::password(lockout.layer(users)))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where it stands
//!
//! Around the verifier, outside of whatever else is around that. Several
//! verifiers, that of SOCKS4's user ids too, count together if the same layer
//! or a clone of it is around each. A client that is locked out hears what any
//! refused client does: `01 01`, SOCKS4: 91.
//!
//! The [`gate`](LockoutLayer::gate) is for between the stages, best before the
//! handshake: a client that is locked out sees a close, at the least cost. It
//! is not needed; without it, locked-out clients may still use what needs no
//! verifier.
//!
//! What a refused client hears is the method's to say, and
//! [`HandshakeLayer::with_reply`](crate::HandshakeLayer::with_reply) is not asked.
//!
//! # Around a method of your own
//!
//! A method asks a service about its claim, as ours does, by
//! [`Work::run`](crate::Work::run); then a lock-out, or any middleware, stands
//! around that.
//!
//! ```
//! use std::convert::Infallible;
//! use socks_tower::{
//!     Admitted, Attempt, AuthMethod, AuthenticateLayer, BoxError, Decode, Decoded, Identity,
//!     Method, Negotiation, Work, async_trait, middleware::LockoutLayer,
//! };
//! use tokio::io::AsyncWriteExt;
//! use tower::{Layer, service_fn};
//!
//! /// What a client claims: a token of four bytes, its message.
//! struct Token([u8; 4]);
//!
//! impl Decode for Token {
//!     type Error = Infallible;
//!     const MIN_LEN: usize = 4;
//!     const MAX_LEN: usize = 4;
//!
//!     fn decode(input: &[u8]) -> Result<Decoded<Self>, Infallible> {
//!         Ok(match input.first_chunk() {
//!             Some(token) => Decoded::Complete { message: Self(*token), consumed: 4 },
//!             None => Decoded::Incomplete { needed: 4 - input.len() },
//!         })
//!     }
//! }
//!
//! /// Lets in whose token `V` knows; the client hears a byte.
//! struct ByToken<V>(V);
//!
//! #[async_trait]
//! impl<V> AuthMethod for ByToken<V>
//! where
//!     V: Work<Attempt<Token>, Response = Identity> + Sync,
//! {
//!     fn code(&self) -> Method {
//!         Method(0x80)
//!     }
//!
//!     async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
//!         // What the client sent behind its token stays where it is.
//!         let token = client.read_message::<Token>().await?;
//!         let attempt = Attempt::new(client.session().clone(), token);
//!         let verdict = self.0.clone().run(attempt).await;
//!         client.write_all(&[u8::from(verdict.is_err())]).await?;
//!         Ok(verdict?.into())
//!     }
//! }
//!
//! let check = service_fn(|attempt: Attempt<Token>| async move {
//!     match &attempt.credentials.0 {
//!         b"open" => Ok(Identity::new("joe")),
//!         _ => Err("no such token"),
//!     }
//! });
//! let method = ByToken(LockoutLayer::new().layer(check));
//!
//! # let client_of_all = async || {
//! // What a client hears of it, without a proxy: five failures, and it is locked out.
//! use socks_tower::Session;
//! let session = Session::new().with_client_addr("192.0.2.1:4000".parse()?);
//! for (said, lets_in) in [(b"open", true), (b"shut", false), (b"shut", false), (b"shut", false),
//!     (b"shut", false), (b"shut", false), (b"open", false)]
//! {
//!     let mut io = tokio_test::io::Builder::new().write(&[u8::from(!lets_in)]).build();
//!     let mut came = said.to_vec();
//!     let mut client = Negotiation::new(&session, &mut came, &mut io);
//!     assert_eq!(method.authenticate(&mut client).await.is_ok(), lets_in);
//! }
//! # Ok::<(), BoxError>(())
//! # };
//! # tokio_test::block_on(client_of_all())?;
//!
//! let layer = AuthenticateLayer::new(method);
//! # Ok::<(), BoxError>(())
//! ```
//!
//! # A fleet
//!
//! Who guesses at several proxies has as many guesses at each. With the feature `redis`,
//! they count together: `LockoutLayer::shared`, whose terms are the same.
//!
#![cfg_attr(feature = "redis", doc = "```")]
#![cfg_attr(not(feature = "redis"), doc = "```ignore")]
//! use socks_tower::{Attempt, Users, middleware::{LockoutLayer, Redis}};
//! use tower::Layer;
//!
//! let redis = Redis::open("redis://127.0.0.1")?;
//! let clients = LockoutLayer::new().shared(&redis, "clients");
//! // A key is shared as the text that it prints as.
//! let names = LockoutLayer::by(|attempt: &Attempt| {
//!     let name = str::from_utf8(attempt.credentials.username.as_bytes()).ok()?;
//!     Some(format!("{} at {name}", attempt.session.client_addr?.ip()))
//! });
//! let names = names.shared(&redis, "names");
//! let verifier = names.layer(clients.layer(Users::new()));
//! # let _ = verifier;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Nobody waits for Redis. A failure counts here at once, and is told in one question;
//!   Redis pushes to all nodes what the key has now. A success asks nothing, unless it
//!   clears a failure. Within the time of such a push, a client may have a guess more at
//!   another node.
//! - A node reads all failures when it connects, and before anything else is asked: a
//!   lock that fell while it was cut off holds once it is back. What it counted itself
//!   meanwhile it tells then, and each second what Redis did not hear. A failure whose
//!   answer was late may count twice.
//! - While Redis does not answer, a node locks out those who were, and by what it counts
//!   itself; or, with [`Outage::Refuse`](crate::middleware::redis::Outage::Refuse), it
//!   refuses all attempts, and so it does until it has connected for the first time.
//! - In Redis are `lockout:NAME:records` and `lockout:NAME:forgotten`, after the prefix,
//!   which expire once the longest lock and the time to forget have passed without a
//!   failure. They have as many keys as [`with_max_keys`](LockoutLayer::with_max_keys)
//!   says, and the one that would be forgotten first makes room: 14 MB for 65,536 clients.
//!
//! # What counts as a failure
//!
//! Every error of the verifier that does not look like the verifier's own
//! trouble: I/O errors, time-outs and overload, anywhere among the causes, do
//! not count, or an outage of a user database would lock everybody out. Nor does a
//! refusal by a limit of ours around the verifier
//! ([`ErrorKind::Limited`](crate::ErrorKind::Limited)): who comes too often has not
//! failed yet. [`is_outage`](crate::session::is_outage) is the rule.
//! [`LockoutLayer::with_counted`] sets another rule.
//!
//! # What it does not do
//!
//! - Attempts that are with the verifier already when their client is locked
//!   out are let finish. A limit on how many a client may have at once bounds
//!   them.
//! - Clients behind one NAT share their failures, and their successes. One that
//!   has a password of its own can clear its failures with that as it goes.
//! - Clients without an address (Unix sockets) are never locked out.
//!
//! # Cost and bounds
//!
//! A short lock before and after an attempt, one at the gate. 65,536 clients
//! at most, unless set, about a hundred bytes each: only those that failed
//! lately are in the table. When it is full of these, a newcomer takes the
//! place of one, of a few, that would be forgotten first: others are not
//! refused for it.

mod count;
#[cfg(feature = "redis")]
mod fleet;
mod layer;
mod record;
mod service;

pub use layer::{LockoutGateLayer, LockoutLayer};
pub use record::LockedOut;
pub use service::{Lockout, LockoutFuture, LockoutGate, LockoutGateFuture};
