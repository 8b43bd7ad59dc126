//! What travels from stage to stage: each type says what is known by then, so
//! that a wrong order does not compile.

use std::{fmt, time::Duration};

use socks_core::{
    Encode, FieldError,
    server::{self, Server, Versions},
    v5::{Greeting, Method},
};
use tokio::time::Instant;

use crate::session::{
    DEFAULT_TIMEOUT, HasSession, Inbound, Outbound, Protocol, ReplyHook, Request, Session, Stream,
    later,
};

/// A connection that has been accepted, and nothing more.
#[non_exhaustive]
pub struct Accepted<Io> {
    /// The client's stream.
    pub io: Io,
    /// What a layer in front already read from it, to be read again.
    pub buffered: Vec<u8>,
    /// What is known of the client: its addresses.
    pub session: Session,
    /// When it was accepted: the deadline of the negotiation counts from here.
    pub accepted_at: Instant,
}

impl<Io> Accepted<Io> {
    /// A connection accepted now.
    pub fn new(io: Io, session: Session) -> Self {
        Self {
            io,
            buffered: Vec::new(),
            session,
            accepted_at: Instant::now(),
        }
    }

    /// The same connection over another stream, which `wrap` makes of this one.
    /// What is `buffered` is read before that.
    ///
    /// ```
    /// use socks_tower::Accepted;
    /// use tokio::{io::BufStream, net::TcpStream};
    ///
    /// fn buffered(accepted: Accepted<TcpStream>) -> Accepted<BufStream<TcpStream>> {
    ///     accepted.map_io(BufStream::new)
    /// }
    /// ```
    ///
    /// A stream that is wrapped is not spliced: what is to see, count or hold back
    /// bytes is a [`Policy`](crate::Policy). A wrapping that has to wait, as
    /// for a handshake, moves the fields into [`new`](Self::new), and `accepted_at` and
    /// `buffered` into what that gives.
    pub fn map_io<New>(self, wrap: impl FnOnce(Io) -> New) -> Accepted<New> {
        Accepted {
            io: wrap(self.io),
            buffered: self.buffered,
            session: self.session,
            accepted_at: self.accepted_at,
        }
    }
}

impl<Io> Accepted<Io> {
    /// The instant `timeout` after accept.
    pub(crate) fn deadline(&self, timeout: Duration) -> Instant {
        later(self.accepted_at, timeout)
    }
}

/// A connection whose client has said what it speaks: it offers SOCKS5's
/// methods, or has sent a whole SOCKS4 request.
pub struct Greeted<Io> {
    /// The client's stream.
    pub io: Io,
    /// What is known of the client.
    pub session: Session,
    pub(crate) buffered: Vec<u8>,
    pub(crate) server: Server,
    pub(crate) offer: Offer,
    pub(crate) deadline: Instant,
    pub(crate) hook: Option<ReplyHook>,
}

impl<Io> Greeted<Io> {
    /// A SOCKS5 client that offers `methods`: to test what stands behind the
    /// first stage.
    ///
    /// # Errors
    ///
    /// If there are more than 255 of them (RFC 1928 section 3).
    pub fn offering(io: Io, session: Session, methods: &[Method]) -> Result<Self, FieldError> {
        let greeting = Greeting::new(methods.iter().copied())?;
        let mut server = Server::new(Versions::SOCKS5);
        // It is whole and well-formed: the machine now waits for a choice.
        let _greeting = server.receive(&greeting.to_bytes());
        Ok(Self {
            io,
            session: session.with_protocol(Protocol::Socks5),
            buffered: Vec::new(),
            server,
            offer: Offer::Methods(greeting),
            deadline: Instant::now() + DEFAULT_TIMEOUT,
            hook: None,
        })
    }

    /// The same connection over another stream, which `wrap` makes of this one. What
    /// has been read too far is read before that.
    pub fn map_io<New>(self, wrap: impl FnOnce(Io) -> New) -> Greeted<New> {
        Greeted {
            io: wrap(self.io),
            session: self.session,
            buffered: self.buffered,
            server: self.server,
            offer: self.offer,
            deadline: self.deadline,
            hook: self.hook,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Offer {
    Methods(Greeting),
    Request(server::Request),
}

/// A connection whose client has been let in and has said what it wants.
#[non_exhaustive]
pub struct Requested<Io> {
    /// The client, which waits for its reply.
    pub client: Inbound<Io>,
    /// What it wants.
    pub request: Request,
}

impl<Io> Requested<Io> {
    /// A client that waits for the answer to `request`.
    pub fn new(client: Inbound<Io>, request: Request) -> Self {
        Self { client, request }
    }
}

impl<Io: Stream> Requested<Io> {
    /// The same over another stream to the client: see [`Inbound::map_io`].
    pub fn map_io<New: Stream>(self, wrap: impl FnOnce(Io) -> New) -> Requested<New> {
        Requested {
            client: self.client.map_io(wrap),
            request: self.request,
        }
    }
}

/// A connection with a stream to its target. The client has had its reply.
#[non_exhaustive]
pub struct Connected<Io, Up> {
    /// The client.
    pub client: Inbound<Io>,
    /// The stream to the target.
    pub upstream: Outbound<Up>,
    /// What the client wanted.
    pub request: Request,
}

impl<Io, Up> Connected<Io, Up> {
    /// A client that has been told that `upstream` is its target.
    pub fn new(client: Inbound<Io>, upstream: Outbound<Up>, request: Request) -> Self {
        Self {
            client,
            upstream,
            request,
        }
    }
}

impl<Io: Stream, Up> Connected<Io, Up> {
    /// The same over another stream to the client: see [`Inbound::map_io`]. That to
    /// the target is the connector's, and wrapped there: [`Outbound::map_io`].
    pub fn map_io<New: Stream>(self, wrap: impl FnOnce(Io) -> New) -> Connected<New, Up> {
        Connected {
            client: self.client.map_io(wrap),
            upstream: self.upstream,
            request: self.request,
        }
    }
}

/// What travels between the stages: [`Accepted`], [`Greeted`], [`Requested`],
/// [`Connected`]. What is left in its session is there for all that come after.
///
/// A work is asked about a copy of the session, which ends there.
#[diagnostic::on_unimplemented(
    message = "what is set here would end here: `{Self}` has a copy of the session",
    label = "`{Self}` does not travel between the stages",
    note = "put the layer between the stages, behind `AuthenticateLayer` for instance, and not around a work"
)]
pub trait State: HasSession {}

/// Implements [`State`], [`HasSession`] and a `Debug` that leaves streams out.
macro_rules! state {
    ($name:ident<$($param:ident),*>, $($session:ident).+) => {
        impl<$($param),*> State for $name<$($param),*> {}

        impl<$($param),*> HasSession for $name<$($param),*> {
            fn session(&self) -> &Session {
                &self.$($session).+
            }

            fn session_mut(&mut self) -> &mut Session {
                &mut self.$($session).+
            }
        }

        impl<$($param),*> fmt::Debug for $name<$($param),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("session", self.session())
                    .finish_non_exhaustive()
            }
        }
    };
}

state!(Accepted<Io>, session);
state!(Greeted<Io>, session);
state!(Requested<Io>, request.session);
state!(Connected<Io, Up>, request.session);
