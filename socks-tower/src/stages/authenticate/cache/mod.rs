//! Remembers for a while whom a verifier has let in.
//!
//! It comes with the feature `auth-cache`.
//!
//! SOCKS authenticates every connection anew, and a page opens dozens. Put it around a
//! verifier that costs something: a slow hash, a question over the network.
//!
//! # Example
//!
//! ```
//! use std::{io, time::Duration};
//! use socks_tower::{
//!     Attempt, AuthenticateLayer, BoxError, Identity, WrongCredentials,
//!     stages::authenticate::cache::AuthCacheLayer,
//! };
//! use tower::{ServiceBuilder, service_fn};
//!
//! /// Asks the directory: a no is a [`WrongCredentials`], trouble an `io::Error`.
//! async fn ask(attempt: Attempt) -> Result<Identity, BoxError> {
//! #   let answer = Ok::<_, io::Error>(Some("joe"));
//!     match answer? {
//!         Some(name) => Ok(Identity::new(name)),
//!         None => Err(WrongCredentials::new().into()),
//!     }
//! }
//!
//! let verifier = ServiceBuilder::new()
//!     .layer(
//!         AuthCacheLayer::new(Duration::from_secs(60))
//!             .with_stale(Duration::from_secs(60 * 60)), // if the directory is down
//!     )
//!     .timeout(Duration::from_secs(2)) // of one question
//!     .service(service_fn(ask));
//!
//! // Later: nobody is known any more.
//! verifier.clear();
//!
//! let layer = AuthenticateLayer::password(verifier);
//! ```
//!
//! # What to know
//!
//! - Only good answers are remembered, under a keyed hash of name and password whose key
//!   is random and this cache's own. Whoever guesses gains nothing, and fills nothing.
//! - Somebody who is removed, or has a new password, is let in by the old one for the
//!   cache's time more, unless [`AuthCache::clear`] is called.
//! - Of those who come at once with the same name and password, one asks, and the others
//!   wait for what is said. If that is a no, each of them asks by itself; if it is an
//!   outage, nobody does.
//! - A verifier that goes by more than name and password stands outside of the cache, or
//!   inside of one [`per_client`](AuthCacheLayer::per_client) if that is the client's
//!   address. What it leaves in an [`Admitted`](crate::Admitted)'s extensions is cloned
//!   for each session; one that wraps the stream is not remembered.
//! - A `LockoutLayer` stands outside of it: then it counts every attempt, and stops those
//!   who are locked out though they are remembered.
//! - It is bounded: what would be forgotten first makes room. A place is some 200 bytes.
//! - Clones share what they know; each use of the layer begins with nothing.
//!
//! # When the back end is down
//!
//! Nobody is let in who is not remembered, unless you choose otherwise:
//!
//! - with [`AuthCacheLayer::with_stale`], those who were let in lately are let in still;
//! - with tower's `map_result` around the verifier and
//!   [`is_outage`](crate::session::is_outage), whomever you say:
//!
//! ```
//! use socks_tower::{AuthenticateLayer, BoxError, Identity, session::is_outage};
//! use tower::ServiceExt;
//!
//! # let verifier = tower::service_fn(|_: socks_tower::Attempt| async { Err::<Identity, BoxError>("".into()) });
//! // Rules and limits can tell who came in so.
//! let verifier = verifier.map_result(|verdict: Result<Identity, BoxError>| match verdict {
//!     Err(error) if is_outage(&*error) => Ok(Identity::new("unverified")),
//!     verdict => verdict,
//! });
//!
//! let layer = AuthenticateLayer::password(verifier);
//! ```
//!
//! Either way it is an outage only if the verifier says so: an error that is, or has
//! among its causes, an I/O error, a time-out or overload.

mod layer;
mod service;
mod store;

pub use layer::AuthCacheLayer;
pub use service::{AuthCache, AuthCacheFuture};
