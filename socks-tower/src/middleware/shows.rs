use crate::session::{HasSession, Session};

/// What passes a layer, and what that finds a key in: the [`Session`] of anything
/// that has one, or the whole of what passes.
///
/// So a key of a session goes for every place in a stack, and one of an
/// [`Attempt`](crate::Attempt), or of a [`Request`](crate::Request), for the places
/// where there is one.
///
/// ```compile_fail
/// # use socks_tower::{Attempt, HandshakeLayer, Socks, middleware::LockoutLayer};
/// # use tower::Layer;
/// let lockout = LockoutLayer::by(|attempt: &Attempt| {
///     Some(attempt.credentials.username.clone())
/// });
/// // Before the handshake there is no attempt.
/// let proxy = lockout.gate().layer(Socks::new());
/// # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
/// check(proxy);
/// ```
#[diagnostic::on_unimplemented(
    message = "the key is found in `{Seen}`, and what passes here is `{Self}`",
    label = "is passed `{Self}`",
    note = "a key of a `Session` goes everywhere; one of an `Attempt` goes around a verifier, one of a `Request` around a connector"
)]
pub trait Shows<Seen> {
    /// What a key is found in.
    fn shown(&self) -> &Seen;
}

impl<T: HasSession> Shows<Session> for T {
    fn shown(&self) -> &Session {
        self.session()
    }
}

impl<T: HasSession> Shows<T> for T {
    fn shown(&self) -> &T {
        self
    }
}
