//! GSS-API (RFC 1961): clients show who they are by Kerberos, and what follows is
//! protected. Feature `gssapi`, which needs the system's library and is not in `full`.
//!
//! [`GssApi`] is the method of a server. [`GssApiClient`](crate::GssApiClient) is that of a
//! client, and [`Principal`] whom a client is.
//!
//! # Example
//!
//! ```no_run
//! use socks_tower::{
//!     Attempt, AuthenticateLayer, GssApi, GssApiClient, Identity, Principal, Protection,
//!     Socks5Connector, works::upstream::direct,
//! };
//! use tower::service_fn;
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // Whoever has a ticket of a realm that our KDC trusts, by any key of `rcmd` in the keytab.
//! let anybody = AuthenticateLayer::new(GssApi::new("rcmd")?);
//!
//! // Of one realm alone, by shorter names, and nothing in clear.
//! let ours = service_fn(|attempt: Attempt<Principal>| async move {
//!     let name = attempt.credentials.of_realm("EXAMPLE.ORG");
//!     name.map(Identity::new).ok_or("of another realm")
//! });
//! let method = GssApi::new("rcmd@proxy.example.org")?
//!     .with_verifier(ours)
//!     .with_least(Protection::Confidentiality);
//! let layer = AuthenticateLayer::new(method);
//!
//! // A client, by the tickets that it has.
//! let client = GssApiClient::new("rcmd@proxy.example.org")?;
//! let proxy = "proxy.example.org:1080".parse()?;
//! let connector = Socks5Connector::new(proxy, direct()).with_method(client);
//! # Ok(())
//! # }
//! ```
//!
//! # What it needs
//!
//! MIT's library (Debian's `libkrb5-dev`), and `libclang` to build. Which keytab, cache of
//! tickets and configuration it goes by, its own environment variables say: `KRB5_KTNAME`,
//! `KRB5CCNAME`, `KRB5_CONFIG`. A keytab is read anew for each client.
//!
//! Of mechanisms there is Kerberos 5 alone: none is negotiated (SPNEGO). The names of
//! services are as others use them: `rcmd` is what curl and Dante ask for.
//!
//! Contexts are set up on a few threads of their own, which clients share, as those of
//! [`SystemResolver`](crate::SystemResolver) are shared; who waits for its client's next
//! token holds none. One deadline bounds the whole, as it does for every method.
//!
//! # What follows is protected
//!
//! By level 1 it cannot be changed on the way, by level 2 not be read either: request, reply,
//! what is tunnelled, and the datagrams of an association. A client asks for a level, and is
//! answered: with the least that will do ([`GssApi::with_least`]), if it asks for less, upon
//! which it may go; with 2, if it would choose for each message (3). At level 2, nothing is
//! taken that is not encrypted.
//!
//! A message that was changed, has come before, is missing, or comes in another order ends
//! the session; of datagrams, it is that datagram that is dropped. The end of the stream is
//! not protected: who can cut the connection between two messages can make that look like
//! the client's own end.
//!
//! A session ends when its ticket does, unless [`GssApi::outlive_tickets`] says otherwise.
//!
//! Such a stream is wrapped, so it is not spliced.
//!
//! # What it costs
//!
//! A GiB costs a proxy this many times the CPU that it costs within TLS (`TlsLayer`, rustls
//! with ring), which is 1.02 seconds towards the target and 0.64 from it:
//!
//! | | to the target | from it |
//! |---|---|---|
//! | in clear, spliced | 0.25 | 0.39 |
//! | level 1 | 2.3 | 3.8 |
//! | level 2 | 6.7 | 12.1 |
//!
//! Medians of five, side by side, on an AMD EPYC under Linux 6, with MIT's library 1.20.1
//! and AES-256 with SHA-1; the repository's `tests/gssapi/examples/bulk.rs` measures it.
//!
//! # Replies
//!
//! Whatever the reason for which a client is not let in, it hears `01 ff`, and the connection
//! is closed.
//!
//! # Clients that do not do as the RFC says
//!
//! | client | lets it in |
//! |---|---|
//! | Dante's | nothing more is needed |
//! | curl 8.23, which speaks in clear | [`GssApi::allow_downgrade`] |
//! | one that asks for no protection | [`GssApi::allow_unprotected`] |
//! | one of NEC's kind, whose level is not wrapped | [`GssApi::allow_nec`] |

mod method;
mod principal;
mod replays;
#[cfg(test)]
mod tests;

pub use method::GssApi;
pub use principal::Principal;

#[doc(no_inline)]
pub use crate::session::gssapi::{GssApiError, Protection};
