//! The server's end of a session, up to its replies.
//!
//! Feed [`Server`] what the client sent; it says what that was, how much of it
//! it took, and what is to be answered. Surplus bytes stay with the caller: a
//! client may send greeting, password, request and payload in one segment.
//!
//! ```
//! use socks_core::{Decoded, Target, server::{Event, Server, Versions}, v5::Method};
//!
//! let mut server = Server::new(Versions::ALL);
//! let mut input: &[u8] = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50GET /";
//! let mut out = Vec::new();
//!
//! let Decoded::Complete { message: Event::Greeting(greeting), consumed } = server.receive(input)? else {
//!     panic!("a greeting")
//! };
//! assert!(greeting.offers(Method::NONE));
//! input = &input[consumed..];
//! server.select(Method::NONE, &mut out)?;
//! server.authenticated()?; // The method has no negotiation of its own.
//!
//! let Decoded::Complete { message: Event::Request(request), consumed } = server.receive(input)? else {
//!     panic!("a request")
//! };
//! assert_eq!(request.target.to_string(), "127.0.0.1:80");
//! assert_eq!(&input[consumed..], b"GET /");
//! server.grant(&Target::UNSPECIFIED, &mut out)?;
//! assert_eq!(out, b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00");
//! # Ok::<(), socks_core::server::Error>(())
//! ```

mod error;
mod reply;
mod request;

use alloc::vec::Vec;

pub use error::Error;
pub use reply::reply;
pub use request::{Request, Version, Versions};

use crate::{
    Decode, Decoded, Encode, Target, v4,
    v5::{self, Command, Greeting, Method, ReplyCode, Selection},
};

/// What the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// SOCKS5's greeting: answer with [`Server::select`] or
    /// [`Server::refuse_methods`].
    Greeting(Greeting),
    /// The request: answer with [`Server::grant`] or [`Server::refuse`].
    Request(Request),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is known yet.
    Start,
    /// A greeting is to be answered.
    Greeted,
    /// The method chosen has the stream.
    Authenticating,
    /// The client is known; its request is due.
    Authenticated,
    /// A request is to be answered. BIND is answered twice.
    Requested(Version, Command),
    /// BIND's first reply is written.
    Bound(Version),
    /// All is said.
    Done,
}

/// The server's end.
///
/// It holds no bytes: what [`receive`](Self::receive) did not take, the caller
/// keeps and gives again.
#[derive(Clone, Debug)]
pub struct Server {
    versions: Versions,
    state: State,
}

impl Server {
    /// A session at its start, in which the client may speak any of `versions`.
    #[must_use]
    pub const fn new(versions: Versions) -> Self {
        Self {
            versions,
            state: State::Start,
        }
    }

    /// Reads the next message from the front of `input`.
    ///
    /// # Errors
    ///
    /// If the message cannot be right, or a version is not served: then
    /// [`answer`](Self::answer) and close. [`Error::OutOfTurn`] if it is the
    /// server's turn to speak.
    pub fn receive(&mut self, input: &[u8]) -> Result<Decoded<Event>, Error> {
        let decoded = match (self.state, input.first()) {
            (State::Start, Some(&v4::VERSION)) => {
                if !self.versions.v4 {
                    return Err(Error::VersionNotServed(v4::VERSION));
                }
                v4::Request::decode(input)?.map(|request| Event::Request(request.into()))
            }
            (State::Start, Some(&v5::VERSION)) => {
                if !self.versions.v5 {
                    return Err(Error::VersionNotServed(v5::VERSION));
                }
                Greeting::decode(input)?.map(Event::Greeting)
            }
            (State::Start, Some(&first)) => return Err(Error::NotSocks(first)),
            // The shortest first message of all.
            (State::Start, None) => Decoded::Incomplete {
                needed: Greeting::MIN_LEN,
            },
            (State::Authenticated, _) => {
                v5::Request::decode(input)?.map(|request| Event::Request(request.into()))
            }
            _ => return Err(Error::OutOfTurn),
        };
        if let Decoded::Complete { message, .. } = &decoded {
            self.state = match message {
                Event::Greeting(_) => State::Greeted,
                Event::Request(request) => State::Requested(request.version, request.command),
            };
        }
        Ok(decoded)
    }

    /// Chooses `method`. Its own negotiation, if it has one, comes next, on
    /// the stream itself, and then [`authenticated`](Self::authenticated).
    ///
    /// [`Method::NO_ACCEPTABLE`] is no method: it refuses them all.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTurn`] if no greeting is to be answered.
    pub fn select(&mut self, method: Method, out: &mut Vec<u8>) -> Result<(), Error> {
        let next = match method {
            Method::NO_ACCEPTABLE => State::Done,
            _ => State::Authenticating,
        };
        self.turn(State::Greeted, next)?;
        Selection { method }.encode(out);
        Ok(())
    }

    /// Tells the client that no method it offers will do. Then close.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTurn`] if no greeting is to be answered.
    pub fn refuse_methods(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.select(Method::NO_ACCEPTABLE, out)
    }

    /// The method chosen has let the client in: its request is next.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTurn`] if no method has been chosen.
    pub fn authenticated(&mut self) -> Result<(), Error> {
        self.turn(State::Authenticating, State::Authenticated)
    }

    /// Grants the request. BIND is granted twice: when it listens and when the
    /// peer has come.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTurn`] if no request is to be answered.
    pub fn grant(&mut self, bound: &Target, out: &mut Vec<u8>) -> Result<(), Error> {
        let (version, next) = match self.state {
            State::Requested(version, Command::BIND) => (version, State::Bound(version)),
            State::Requested(version, _) | State::Bound(version) => (version, State::Done),
            _ => return Err(Error::OutOfTurn),
        };
        self.state = next;
        reply(version, Ok(bound), out);
        Ok(())
    }

    /// Refuses the request. Then close.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTurn`] if no request is to be answered, and
    /// [`Error::NotARefusal`] if `code` is [`ReplyCode::SUCCEEDED`].
    pub fn refuse(&mut self, code: ReplyCode, out: &mut Vec<u8>) -> Result<(), Error> {
        if code == ReplyCode::SUCCEEDED {
            return Err(Error::NotARefusal);
        }
        let (State::Requested(version, _) | State::Bound(version)) = self.state else {
            return Err(Error::OutOfTurn);
        };
        self.state = State::Done;
        reply(version, Err(code), out);
        Ok(())
    }

    /// Answers an error of [`receive`](Self::receive) in the client's own
    /// protocol, as far as it has words for it. Then close.
    pub fn answer(&mut self, error: &Error, out: &mut Vec<u8>) {
        match (self.state, error) {
            (State::Start, Error::NotSocks(first)) if error::is_http(*first) => {
                out.extend(reply::HTTP_ANSWER)
            }
            (State::Start, Error::VersionNotServed(v5::VERSION)) => {
                let method = Method::NO_ACCEPTABLE;
                Selection { method }.encode(out);
            }
            (State::Start, Error::VersionNotServed(v4::VERSION) | Error::Decode(_)) => {
                reply(Version::Socks4, Err(ReplyCode::GENERAL_FAILURE), out);
            }
            (State::Authenticated, Error::Decode(error)) => {
                reply(Version::Socks5, Err(reply::decode_reply(error)), out);
            }
            _ => {}
        }
        self.state = State::Done;
    }

    fn turn(&mut self, from: State, to: State) -> Result<(), Error> {
        if self.state != from {
            return Err(Error::OutOfTurn);
        }
        self.state = to;
        Ok(())
    }
}
