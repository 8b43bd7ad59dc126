//! TLS in front of everything, by [rustls].
//!
//! It comes with the feature `tls`.
//!
//! [`TlsLayer`] takes an [`Accepted`](crate::Accepted) and hands on an
//! `Accepted` over the stream within: SOCKS, and HTTP CONNECT, run inside TLS,
//! passwords and all. It stands before the first stage, and behind
//! `ProxyProtocolLayer` (feature `proxy-protocol`), whose headers are not encrypted.
//!
//! The configuration is the caller's: certificates, versions, ALPN, whether
//! clients show a certificate, and the provider of cryptography, which rustls's
//! own features choose. Depend on `rustls` for it, with features `ring` or
//! `aws_lc_rs`, and `tls12` for older clients.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use socks_tower::{Identity, Proxy, Socks, front::tls::{TlsLayer, rustls::ServerConfig}};
//! use tokio::net::TcpStream;
//! use tower::ServiceBuilder;
//!
//! fn proxy(config: ServerConfig, joes: Vec<u8>) -> impl Proxy<TcpStream> {
//!     // Who has this certificate is joe.
//!     let tls = TlsLayer::new(Arc::new(config)).with_identity(move |shown, _| {
//!         let is_joe = shown.leaf() == joes;
//!         is_joe.then(|| Identity::new("joe")).ok_or("a certificate of nobody")
//!     });
//!     ServiceBuilder::new().layer(tls).service(Socks::new())
//! }
//! ```
//!
//! # Who the client is
//!
//! What certificates a client shows, and which are valid, the configuration's
//! verifier decides. Those that it let through are in the session's
//! `extensions`, as [`PeerCertificates`]. [`with_identity`] makes an identity of
//! them: of the subject's common name (with feature `x509`:
//! `PeerCertificates::common_name`), or by looking up the whole. What else they
//! say, a tenant for instance, it may leave in the session's `extensions` too. The
//! identity stays if the stages within ask for none ([`NoAuth`](crate::NoAuth)); a
//! client with a certificate of nobody is refused. One without any goes on
//! unknown: let the verifier insist.
//!
//! # Revocation
//!
//! Three are asked, and each at another time:
//!
//! - rustls's verifier, with its revocation lists, at a *full* handshake. Its
//!   configuration is replaced with a new `ServerConfig`, or by a
//!   `ClientCertVerifier` that passes on to another one.
//! - [`with_identity`], at *every* connection. A client that resumes a session
//!   shows no certificate: rustls does not ask the verifier, and remembers the
//!   certificates of the first time, so a client that was revoked since comes in.
//!   With this closure it does not.
//! - `Sessions` (feature `sessions`), for those that are *live*: a
//!   certificate is looked at when a connection begins, and not again.
//!
//! A configuration without resumption (`NoServerSessionStorage`,
//! `send_tls13_tickets = 0`, no `ticketer`) has each client pay for a full
//! handshake, and asks the verifier each time.
#![cfg_attr(
    all(feature = "x509", feature = "sessions"),
    doc = r#"
```
use std::{collections::HashSet, sync::{Arc, Mutex, PoisonError}};
use socks_tower::{
    AuthenticateLayer, ConnectLayer, HandshakeLayer, Identity, NoAuth, Relay, Request,
    front::tls::{TlsLayer, rustls::ServerConfig},
    middleware::{Ban, RegisterLayer, Sessions},
};
use tower::ServiceBuilder;

/// What a client's session knows of its certificate.
#[derive(Clone, PartialEq)]
struct Serial(String);

type Revoked = Arc<Mutex<HashSet<String>>>;

# fn proxy(config: ServerConfig, revoked: Revoked, sessions: Sessions) {
# let connector = tower::service_fn(|_: Request| async { Ok::<_, std::io::Error>(tokio::io::duplex(1).0) });
let list = Arc::clone(&revoked);
let tls = TlsLayer::new(Arc::new(config)).with_identity(move |shown, session| {
    let serial = shown.serial().ok_or("no serial number")?;
    let list = list.lock().unwrap_or_else(PoisonError::into_inner);
    if list.contains(&serial) {
        return Err("the certificate is revoked");
    }
    session.extensions.insert(Serial(serial));
    shown.common_name().map(Identity::new).ok_or("no common name")
});
let proxy = ServiceBuilder::new()
    .layer(tls)
    .layer(HandshakeLayer::new())
    .layer(AuthenticateLayer::new(NoAuth))
    .layer(RegisterLayer::new(sessions))
    .layer(ConnectLayer::new(connector))
    .service(Relay::new());
# fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
# check(proxy);
# }

/// Nobody comes in by it any more, and who has, goes. Keep the ban until no
/// handshake from before can still be on its way.
fn revoke(serial: &str, revoked: &Revoked, sessions: &Sessions) -> Ban {
    let mut list = revoked.lock().unwrap_or_else(PoisonError::into_inner);
    list.insert(serial.to_owned());
    drop(list);
    let serial = Serial(serial.to_owned());
    sessions.ban(move |request| request.session.extensions.get() == Some(&serial))
}
```
"#
)]
//!
//! # New certificates
//!
//! rustls asks a `ResolvesServerCert` for the certificate of each full handshake:
//! one that is renewed is so replaced while the proxy runs, and live sessions go
//! on.
//!
//! ```
//! use std::sync::{Arc, PoisonError, RwLock};
//! use socks_tower::front::tls::rustls::{
//!     ServerConfig,
//!     crypto::CryptoProvider,
//!     server::{ClientHello, ResolvesServerCert},
//!     sign::CertifiedKey,
//! };
//!
//! #[derive(Debug)]
//! struct Renewed(RwLock<Arc<CertifiedKey>>);
//!
//! impl Renewed {
//!     /// Takes effect at the next handshake. `CertifiedKey::from_der` makes one,
//!     /// and fails if the key is another's.
//!     fn replace(&self, new: CertifiedKey) {
//!         *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
//!     }
//! }
//!
//! impl ResolvesServerCert for Renewed {
//!     fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
//!         let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
//!         Some(Arc::clone(&current))
//!     }
//! }
//!
//! fn config(
//!     provider: Arc<CryptoProvider>,
//!     renewed: Arc<Renewed>,
//! ) -> Result<ServerConfig, socks_tower::BoxError> {
//!     let config = ServerConfig::builder_with_provider(provider)
//!         .with_safe_default_protocol_versions()?
//!         .with_no_client_auth()
//!         .with_cert_resolver(renewed);
//!     Ok(config)
//! }
//! ```
//!
//! # Replies
//!
//! TLS's own alert; a client who does not speak TLS gets one too. A client whose
//! certificate is nobody's sees the connection close, once TLS stands.
//!
//! # The deadline
//!
//! The handshake has 10 seconds from accept unless set, which are part of the
//! time that the first stage gives the negotiation.
//!
//! # What it costs
//!
//! rustls's handshake, in the session's task: a signature of the server's, and
//! the check of the client's if it shows a certificate. Resumption, which the
//! configuration governs, saves both. For as long as the session lives, rustls's
//! state and buffers. Every byte is encrypted or decrypted, and copied: what
//! runs within TLS is no plain socket, so [`Relay`](crate::Relay) cannot
//! splice it.
//!
//! [rustls]: https://docs.rs/rustls
//! [`with_identity`]: TlsLayer::with_identity

mod certificates;
mod layer;
mod service;
mod stream;
#[cfg(feature = "x509")]
mod x509;

pub use certificates::PeerCertificates;
pub use layer::TlsLayer;
pub use service::{Tls, TlsFuture};
pub use stream::TlsStream;
/// The version of rustls that configurations are made with. It is part of this
/// module's interface: another one comes with a new version of this crate.
pub use tokio_rustls::rustls;
