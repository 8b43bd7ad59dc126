//! The second stage: finds out who the client is, and reads its request.
//!
//! [`AuthenticateLayer`] takes a [`Greeted`](crate::Greeted) and hands on a
//! [`Requested`](crate::Requested). It stands behind
//! [`HandshakeLayer`](crate::HandshakeLayer).
//!
//! An [`AuthMethod`] is one of SOCKS5's methods, with its negotiation. Ours are
//! [`NoAuth`] and [`UsernamePassword`]; your own implement the trait. The check
//! itself is a tower service: a `Service<Attempt, Response = Identity>`, which
//! any middleware can wrap. One that knows more than a name answers an
//! [`Admitted`].
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{
//!     Attempt, AuthMethod, AuthenticateLayer, Credentials, Identity, NoAuth, UsernamePassword,
//!     Users,
//! };
//! use tower::ServiceBuilder;
//!
//! // A list of users. An empty one lets nobody in.
//! let users = Users::new().with("joe", "secret")?;
//! let listed = AuthenticateLayer::password(users);
//!
//! // A check of your own, with a limit on how many run at once.
//! let check = ServiceBuilder::new()
//!     .concurrency_limit(8)
//!     .timeout(Duration::from_secs(2))
//!     .service_fn(|attempt: Attempt<Credentials>| async move {
//!         match attempt.credentials.username.to_str() {
//!             Some(name) if name.ends_with("@example.com") => Ok(Identity::new(name)),
//!             _ => Err("no such user"),
//!         }
//!     });
//! let own = AuthenticateLayer::new(UsernamePassword::new(check));
//!
//! // Several methods, in the server's order of preference.
//! # let users = Users::new();
//! let either = AuthenticateLayer::password(users).or(NoAuth);
//!
//! // By where a client comes from: without authentication from this host alone.
//! # let users = Users::new();
//! let local = NoAuth.offered_if(|session| {
//!     session.client_addr.is_some_and(|addr| addr.ip().is_loopback())
//! });
//! let by_network = AuthenticateLayer::new(local).or(UsernamePassword::new(users));
//! # Ok::<(), socks_tower::UsersError>(())
//! ```
//!
//! A verifier that costs something, a slow hash or a question over the network, has
//! `AuthCacheLayer` around it (feature `auth-cache`). Users whose passwords are hashed, in
//! a file as `htpasswd` makes one, are checked by `VerifyPasswords` (feature
//! `password-file`), which remembers by itself.
//!
//! The page `guide::own_authentication` goes from a closure to a method that wraps the
//! stream.
//!
//! A user may write something behind the name, for a pool of proxies to go by, if
//! [`SplitName`] is around the verifier.
//!
//! # SOCKS4
//!
//! SOCKS4 has a user id that nothing backs. Without a verifier made for it
//! ([`AuthenticateLayer::with_user_ids`]), a SOCKS4 client is let in if a
//! method [`Method::NONE`](crate::Method::NONE) is among those that it would be
//! offered, and refused otherwise; a password verifier never sees a user id.
//! `Ident` (feature `ident`) asks the client's host whose connection it is.
//!
//! # Replies
//!
//! No method in common: `05 ff`. A wrong password, or a verifier that broke or
//! took too long: `01 01`. SOCKS4: 91.

mod admitted;
#[cfg(feature = "auth-cache")]
pub mod cache;
#[cfg(any(feature = "auth-cache", feature = "password-file"))]
mod fingerprint;
#[cfg(any(feature = "gssapi", docsrs, test))]
#[cfg_attr(docsrs, doc(cfg(feature = "gssapi")))]
pub mod gssapi;
#[cfg(feature = "ident")]
mod ident;
mod layer;
mod method;
mod password;
#[cfg(feature = "password-file")]
pub mod password_file;
mod reload;
mod service;
mod split_name;
mod users;

pub use admitted::{Admitted, IntoAdmitted};
#[cfg(feature = "ident")]
pub use ident::{Ident, IdentError, IdentFuture};
pub use layer::AuthenticateLayer;
#[cfg(feature = "http-connect")]
pub(super) use layer::{Verifier, erased};
pub use method::{Attempt, AuthMethod, NoAuth, OfferedIf};
pub use password::UsernamePassword;
pub use reload::ReloadUsers;
pub use service::{Authenticate, AuthenticateFuture};
pub use split_name::{SplitName, SplitNameFuture};
pub use users::{Users, UsersError, UsersFuture, WrongCredentials};
