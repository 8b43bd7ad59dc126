//! The client's end of a session, up to the server's replies.
//!
//! [`Client`] says what to send; feed it what the server sent, and it says
//! what that was, how much of it it took, and what is to be sent next. Surplus
//! bytes stay with the caller: a target may speak first, and its first bytes
//! come right behind the reply.
//!
//! ```
//! use socks_core::{
//!     Credentials, Decoded, Target,
//!     client::{Client, Event, Offer},
//!     v5::Command,
//! };
//!
//! let credentials = Credentials::new("joe", "secret")?;
//! let offer = Offer::password(credentials).or(Offer::none());
//! let target: Target = "example.com:25".parse()?;
//! let mut client = Client::v5(offer, Command::CONNECT, target);
//! let mut out = Vec::new();
//!
//! client.start(&mut out)?;
//! assert_eq!(out, b"\x05\x02\x02\x00");
//! out.clear();
//!
//! // The server takes no authentication, so the request is next.
//! let Decoded::Complete { message, consumed } = client.receive(b"\x05\x00", &mut out)? else {
//!     panic!("a selection")
//! };
//! assert_eq!((message, consumed), (Event::Advanced, 2));
//! assert_eq!(out, b"\x05\x01\x00\x03\x0bexample.com\x00\x19");
//! out.clear();
//!
//! let input = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x30\x39220 example.com ESMTP";
//! let Decoded::Complete { message, consumed } = client.receive(input, &mut out)? else {
//!     panic!("a reply")
//! };
//! assert_eq!(message, Event::Granted("127.0.0.1:12345".parse()?));
//! assert_eq!(&input[consumed..], b"220 example.com ESMTP");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod offer;
mod reply;

use alloc::vec::Vec;

pub use error::{Error, FailureCode, TargetError};
pub use offer::Offer;

use crate::{
    Credentials, Decode, Decoded, Encode, Host, Target,
    v4::{self, UserId},
    v5::{self, Command, Method, PasswordReply, PasswordRequest, Selection},
};

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server chose a method that the caller negotiates, on the stream
    /// itself; then [`Client::authenticated`].
    MethodSelected(Method),
    /// The negotiation went a step further, all by the machine itself: send
    /// what it wrote, if anything, and go on receiving.
    Advanced,
    /// The request is granted, with BND.ADDR. After BIND, it is where the
    /// server listens: go on receiving for who comes.
    ///
    /// An unspecified address stands for the server's own.
    Granted(Target),
    /// BIND's second reply: a peer has come, from this address.
    Accepted(Target),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is sent yet.
    Start,
    /// The choice of a method is due.
    Greeted,
    /// The method chosen has the stream.
    Authenticating,
    /// The verdict on the password is due.
    PasswordSent,
    /// The reply is due. BIND is answered twice.
    Requested,
    /// BIND's second reply is due.
    Bound,
    /// All is said.
    Done,
}

#[derive(Clone, Debug)]
enum Dialect {
    V4(v4::Request),
    V5 {
        offer: Offer,
        request: v5::Request,
        /// Whether password and request go out along with the greeting.
        in_one_flight: bool,
    },
}

/// The client's end.
///
/// It holds no bytes that were received: what [`receive`](Self::receive) did
/// not take, the caller keeps and gives again. The password is wiped once it
/// is written, unless a clone of the [`Offer`] holds it too.
#[derive(Clone, Debug)]
pub struct Client {
    dialect: Dialect,
    state: State,
}

impl Client {
    /// A session in SOCKS4.
    ///
    /// # Errors
    ///
    /// [`TargetError`] if SOCKS4 has no words for `target`: it takes IPv4
    /// alone, and of that not 0.0.0.1 to 0.0.0.255, which mean SOCKS4a.
    pub fn v4(user_id: UserId, command: Command, target: Target) -> Result<Self, TargetError> {
        let client = Self::v4a(user_id, command, target)?;
        match &client.dialect {
            Dialect::V4(request) if request.is_v4a() => match request.target.host {
                Host::Name(_) => Err(TargetError::Name),
                Host::Ip(_) => Err(TargetError::Reserved),
            },
            _ => Ok(client),
        }
    }

    /// A session in SOCKS4a, if the target is a name, else in SOCKS4.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ipv6`] if the target is an IPv6 address, but for a mapped
    /// IPv4 address, which is sent as that. A server might understand the
    /// address in the place of a name, but none need to.
    pub fn v4a(user_id: UserId, command: Command, mut target: Target) -> Result<Self, TargetError> {
        if let Host::Ip(ip) = &mut target.host {
            *ip = ip.to_canonical();
            if ip.is_ipv6() {
                return Err(TargetError::Ipv6);
            }
        }
        Ok(Self::new(Dialect::V4(v4::Request {
            command,
            target,
            user_id,
        })))
    }

    /// A session in SOCKS5.
    #[must_use]
    pub fn v5(offer: Offer, command: Command, target: Target) -> Self {
        Self::new(Dialect::V5 {
            offer,
            request: v5::Request { command, target },
            in_one_flight: false,
        })
    }

    /// A session in SOCKS5 that sends all it has to say at once, without
    /// waiting for the server's choice of a method: one round trip instead of
    /// two, or three with a password.
    ///
    /// It offers one method alone: passwords if there are credentials, else no
    /// authentication. RFC 1928 does not foresee it, and a server that drops
    /// what arrives early breaks it; and the password is out before the server
    /// has said that it wants one.
    #[must_use]
    pub fn v5_in_one_flight(
        credentials: Option<Credentials>,
        command: Command,
        target: Target,
    ) -> Self {
        Self::new(Dialect::V5 {
            offer: credentials.map_or_else(Offer::none, Offer::password),
            request: v5::Request { command, target },
            in_one_flight: true,
        })
    }

    const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            state: State::Start,
        }
    }

    /// Begins the session: writes the greeting, or SOCKS4's request.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTurn`] if it has begun before.
    #[inline]
    pub fn start(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.state != State::Start {
            return Err(Error::OutOfTurn);
        }
        self.state = match &mut self.dialect {
            Dialect::V4(request) => {
                request.encode(out);
                State::Requested
            }
            Dialect::V5 {
                offer,
                request,
                in_one_flight,
            } => {
                offer.greet(out);
                if *in_one_flight {
                    if let Some(credentials) = offer.take_credentials() {
                        PasswordRequest::write(&credentials, out);
                    }
                    request.encode(out);
                }
                State::Greeted
            }
        };
        Ok(())
    }

    /// Reads the next message from the front of `input`, and writes what is to
    /// be sent next.
    ///
    /// # Errors
    ///
    /// If the server refuses, or its message cannot be right: then close.
    /// [`Error::OutOfTurn`] if it is the client's turn to speak, or all is said.
    #[inline]
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Decoded<Event>, Error> {
        let outcome = match self.state {
            State::Greeted => Selection::decode(input)
                .map_err(Error::from)
                .and_then(|decoded| decoded.try_map(|selection| self.selected(selection, out))),
            State::PasswordSent => PasswordReply::decode(input)
                .map_err(Error::from)
                .and_then(|decoded| decoded.try_map(|reply| self.judged(reply, out))),
            State::Requested | State::Bound => self.granted(input),
            State::Start | State::Authenticating | State::Done => return Err(Error::OutOfTurn),
        };
        if outcome.is_err() {
            self.state = State::Done;
        }
        outcome
    }

    /// Whether what the server says next is about the request: it has let us in, as
    /// far as it told.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        matches!(self.state, State::Requested | State::Bound)
    }

    /// How many bytes the server sends from here on at least, if it grants all:
    /// those counted that were received and not taken. A read of so many takes
    /// nothing that stands behind the last reply.
    ///
    /// It is 0 while it is the client's turn to speak, and it counts no message of
    /// a method that the caller negotiates.
    #[must_use]
    pub fn min_remaining(&self) -> usize {
        let replies = match (&self.dialect, self.state) {
            (_, State::Start | State::Authenticating | State::Done) => return 0,
            (Dialect::V4(_), _) => return v4::Reply::MIN_LEN,
            (
                Dialect::V5 {
                    offer,
                    in_one_flight: false,
                    ..
                },
                State::Greeted,
            ) if offer.asks_the_caller() => return Selection::MIN_LEN,
            (_, State::Greeted) => Selection::MIN_LEN,
            (_, State::PasswordSent) => PasswordReply::MIN_LEN,
            (_, State::Requested | State::Bound) => 0,
        };
        replies + reply::MIN_GRANT
    }

    /// The method chosen has let the client in: writes the request.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTurn`] if no method has the stream.
    pub fn authenticated(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.state != State::Authenticating {
            return Err(Error::OutOfTurn);
        }
        self.request(out);
        Ok(())
    }

    fn selected(
        &mut self,
        Selection { method }: Selection,
        out: &mut Vec<u8>,
    ) -> Result<Event, Error> {
        let Dialect::V5 {
            offer,
            in_one_flight,
            ..
        } = &mut self.dialect
        else {
            return Err(Error::OutOfTurn);
        };
        match method {
            Method::NO_ACCEPTABLE => Err(Error::NoAcceptableMethod),
            method if !offer.includes(method) => Err(Error::MethodNotOffered(method)),
            Method::NONE => {
                self.request(out);
                Ok(Event::Advanced)
            }
            // Sent along with the greeting.
            Method::USERNAME_PASSWORD if *in_one_flight => {
                self.state = State::PasswordSent;
                Ok(Event::Advanced)
            }
            method => match offer.take_credentials() {
                Some(credentials) if method == Method::USERNAME_PASSWORD => {
                    PasswordRequest::write(&credentials, out);
                    self.state = State::PasswordSent;
                    Ok(Event::Advanced)
                }
                _ => {
                    self.state = State::Authenticating;
                    Ok(Event::MethodSelected(method))
                }
            },
        }
    }

    fn judged(&mut self, reply: PasswordReply, out: &mut Vec<u8>) -> Result<Event, Error> {
        match reply {
            PasswordReply::SUCCESS => {
                self.request(out);
                Ok(Event::Advanced)
            }
            PasswordReply { status } => Err(Error::CredentialsRejected { status }),
        }
    }

    /// Writes SOCKS5's request, unless it went out with the greeting.
    fn request(&mut self, out: &mut Vec<u8>) {
        if let Dialect::V5 {
            request,
            in_one_flight: false,
            ..
        } = &self.dialect
        {
            request.encode(out);
        }
        self.state = State::Requested;
    }

    fn granted(&mut self, input: &[u8]) -> Result<Decoded<Event>, Error> {
        let (command, decoded) = match &self.dialect {
            Dialect::V4(request) => (request.command, reply::v4(input)?),
            Dialect::V5 { request, .. } => (request.command, reply::v5(input)?),
        };
        Ok(decoded.map(|bound| {
            let (event, next) = match (self.state, command) {
                (State::Bound, _) => (Event::Accepted(bound), State::Done),
                (_, Command::BIND) => (Event::Granted(bound), State::Bound),
                _ => (Event::Granted(bound), State::Done),
            };
            self.state = next;
            event
        }))
    }
}
