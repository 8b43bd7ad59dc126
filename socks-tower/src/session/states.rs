//! What travels from stage to stage: each type says what is known by then, so
//! that a wrong order does not compile.

use std::{fmt, time::Duration};

use socks_core::{
    Target,
    server::{self, Server},
    v5::Greeting,
};
use tokio::time::Instant;

use crate::session::{Client, HasSession, Outbound, ReplyHook, Request, Session};

/// A connection that has been accepted, and nothing more.
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

    /// The same connection over another stream, as a TLS layer makes it.
    pub fn with_io<New>(self, io: New) -> Accepted<New> {
        Accepted {
            io,
            buffered: self.buffered,
            session: self.session,
            accepted_at: self.accepted_at,
        }
    }
}

impl<Io> Accepted<Io> {
    /// Where a deadline lies that is past the end of time: 30 years from now.
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

    /// The instant `timeout` after accept.
    pub(crate) fn deadline(&self, timeout: Duration) -> Instant {
        let deadline = self.accepted_at.checked_add(timeout);
        deadline.unwrap_or_else(|| self.accepted_at + Self::NEVER)
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

#[derive(Debug)]
pub(crate) enum Offer {
    Methods(Greeting),
    Request(server::Request),
}

/// A connection whose client has been let in and has said what it wants.
pub struct Requested<Io, T = Target> {
    /// The client, which waits for its reply.
    pub client: Client<Io>,
    /// What it wants.
    pub request: Request<T>,
}

/// A connection with a stream to its target. The client has had its reply.
pub struct Connected<Io, Up> {
    /// The client.
    pub client: Client<Io>,
    /// The stream to the target.
    pub upstream: Outbound<Up>,
    /// What the client wanted.
    pub request: Request<Target>,
}

/// Implements [`HasSession`] and a `Debug` that leaves streams out.
macro_rules! state {
    ($name:ident<$($param:ident),*>, $($session:ident).+) => {
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
state!(Requested<Io, T>, request.session);
state!(Connected<Io, Up>, request.session);
