//! TLS in front of everything, by [rustls].
//!
//! [`TlsLayer`] takes an [`Accepted`](crate::Accepted) and hands on an
//! `Accepted` over the stream within: SOCKS, and HTTP CONNECT, run inside TLS,
//! passwords and all. It stands before the first stage, and behind
//! `ProxyProtocolLayer`, whose headers are not encrypted.
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
//! use socks_tower::{Identity, Socks, front::tls::{TlsLayer, rustls::ServerConfig}};
//! use tower::ServiceBuilder;
//!
//! # fn proxy(config: ServerConfig, joes: Vec<u8>) {
//! let proxy = ServiceBuilder::new()
//!     .layer(
//!         // Who has this certificate is joe.
//!         TlsLayer::new(Arc::new(config)).with_identity(move |certificates| {
//!             (certificates.leaf() == joes).then(|| Identity::new("joe"))
//!         }),
//!     )
//!     .service(Socks::new());
//! # fn check(_: impl tower::Service<socks_tower::Accepted<tokio::net::TcpStream>>) {}
//! # check(proxy);
//! # }
//! ```
//!
//! # Who the client is
//!
//! What certificates a client shows, and which are valid, the configuration's
//! verifier decides. Those that it let through are in the session's
//! `extensions`, as [`PeerCertificates`]. [`with_identity`] makes an identity of
//! them: of the subject, which any parser of X.509 finds in the leaf, or by
//! looking up the whole. It stays if the stages within ask for none
//! ([`NoAuth`](crate::NoAuth)); a client with a certificate of nobody is refused.
//! One without any goes on unknown: let the verifier insist.
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

pub use certificates::PeerCertificates;
pub use layer::TlsLayer;
pub use service::{Tls, TlsFuture};
pub use stream::TlsStream;
/// The version of rustls that configurations are made with. It is part of this
/// module's interface: another one comes with a new version of this crate.
pub use tokio_rustls::rustls;
