//! The client's side of SOCKS on a stream.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, ready},
};

#[cfg(target_os = "linux")]
use rustix::net::SendFlags;
use socks_core::{
    Decode, Decoded, Target,
    client::{Client, Event, Offer},
    v5::{self, Command, Method},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    net::TcpStream,
};

use super::{UpstreamError, UpstreamFailure, method::NOBODY_S};
use crate::session::{Stream, tcp};

/// Asks the SOCKS5 proxy at the other end of `io` for a connection to `target`,
/// and gives BND.ADDR.
///
/// From then on the stream is the target's: nothing behind the reply has been
/// read. There is no deadline; put one around it.
///
/// ```
/// use socks_tower::{
///     Credentials,
///     works::upstream::{Offer, connect},
/// };
/// # async fn run(mut stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// let offer = Offer::password(Credentials::new("joe", "secret")?).or(Offer::none());
/// connect(&mut stream, offer, "example.com:443".parse()?).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the proxy does not connect to the target. The stream is of no use any more.
pub async fn connect<Io: Stream>(
    io: &mut Io,
    offer: Offer,
    target: Target,
) -> Result<Target, UpstreamError> {
    let mut talk = Talk::new(Client::v5(offer, Command::CONNECT, target));
    talk.answer(io).await
}

pub(super) fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up")
}

pub(super) fn broke(error: io::Error) -> UpstreamError {
    UpstreamError::new(UpstreamFailure::Protocol, error)
}

thread_local! {
    /// Where messages are written, of which the socket takes all, as a rule, before the
    /// next talk has its turn.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is on its way to a proxy.
#[derive(Default)]
pub(super) struct Words {
    out: Vec<u8>,
    /// Of `out`. What has been written is flushed before the next read.
    written: usize,
}

impl Words {
    #[cfg(feature = "http-connect")]
    pub(super) fn new(out: Vec<u8>) -> Self {
        Self { out, written: 0 }
    }

    /// Whether the proxy has all of them.
    pub(super) fn are_said(&self) -> bool {
        self.out.is_empty()
    }

    pub(super) fn poll_send(
        &mut self,
        mut io: Pin<&mut impl Stream>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        if self.are_said() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
            // Most often it is a socket that takes it at once, which costs less to ask.
            let written = match tcp(&*io).map(|tcp| send_now(tcp, rest)) {
                None => io.as_mut().poll_write(cx, rest),
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    io.as_mut().poll_write(cx, rest)
                }
                Some(written) => Poll::Ready(written),
            };
            match ready!(written).map_err(broke)? {
                0 => return Poll::Ready(Err(broke(io::ErrorKind::WriteZero.into()))),
                len => self.written += len,
            }
        }
        ready!(io.poll_flush(cx)).map_err(broke)?;
        // It may be a password, and the next talk may be years away.
        self.out.fill(0);
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// Writes to a socket of which no event need have said that it is connected.
#[cfg(target_os = "linux")]
fn send_now(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(tcp, bytes, SendFlags::NOSIGNAL)?)
}

#[cfg(not(target_os = "linux"))]
fn send_now(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    tcp.try_write(bytes)
}

/// What a proxy says that takes more than the client.
pub(super) enum Heard {
    /// The answer to a request.
    Granted(Target),
    /// Somebody else has to go on.
    Next(Next),
}

/// Who goes on.
pub(super) enum Next {
    /// Whoever negotiates by the method that the proxy chose.
    Method(Method),
    /// Whoever reads its answer, now that it has the request.
    #[cfg(feature = "http-connect")]
    Http,
}

/// A client, and what is on its way from it and to it.
pub(super) struct Talk {
    pub(super) client: Client,
    has_begun: bool,
    words: Words,
    /// What has come of a message whose rest is awaited.
    input: Vec<u8>,
}

impl Talk {
    /// Begins, or goes on with a client that has its first answer.
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            has_begun: false,
            words: Words::default(),
            input: Vec::new(),
        }
    }

    /// Goes on up to the next answer to a request, and reads nothing behind it.
    pub(super) async fn answer<Io: Stream>(
        &mut self,
        io: &mut Io,
    ) -> Result<Target, UpstreamError> {
        let Heard::Granted(bound) = poll_fn(|cx| self.poll_heard(io, cx)).await? else {
            return Err(UpstreamError::new(UpstreamFailure::RefusedUs, NOBODY_S));
        };
        Ok(bound)
    }

    /// The method that the proxy chose has let us in.
    pub(super) fn authenticated(&mut self) -> Result<(), UpstreamError> {
        Ok(self.client.authenticated(&mut self.words.out)?)
    }

    /// Whether the proxy has the request.
    pub(super) fn is_asked(&self) -> bool {
        self.client.is_requested() && self.words.are_said()
    }

    /// Goes on up to what takes more than the client.
    pub(super) fn poll_heard<Io: Stream>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Heard, UpstreamError>> {
        if self.words.are_said() {
            self.words.out = SPARE.try_with(Cell::take).unwrap_or_default();
        }
        if !mem::replace(&mut self.has_begun, true) {
            // Out of turn, if it has its first answer.
            let _ = self.client.start(&mut self.words.out);
        }
        let heard = loop {
            ready!(self.words.poll_send(Pin::new(io), cx))?;
            match self.poll_receive(io, cx)? {
                Poll::Ready(None) => {}
                Poll::Ready(Some(heard)) => break Poll::Ready(Ok(heard)),
                Poll::Pending => break Poll::Pending,
            }
        };
        let out = mem::take(&mut self.words.out);
        let _ = SPARE.try_with(|spare| spare.set(out));
        heard
    }

    /// Reads one message.
    fn poll_receive<Io: Stream>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Heard>, UpstreamError>> {
        // No message is longer.
        let mut room = [const { MaybeUninit::uninit() }; v5::Reply::MAX_LEN];
        let mut input = ReadBuf::uninit(&mut room);
        if !self.input.is_empty() {
            input.put_slice(&self.input);
        }
        loop {
            let received = input.filled();
            let needed = match received {
                // Without a byte there is no message, so do not ask.
                [] => 1,
                _ => match self.client.receive(received, &mut self.words.out)? {
                    Decoded::Complete { message, consumed } => {
                        self.input.clear();
                        if let Some(rest @ [_, ..]) = received.get(consumed..) {
                            self.input.extend(rest);
                        }
                        return Poll::Ready(Ok(match message {
                            Event::Granted(bound) | Event::Accepted(bound) => {
                                Some(Heard::Granted(bound))
                            }
                            Event::MethodSelected(code) => Some(Heard::Next(Next::Method(code))),
                            _ => None,
                        }));
                    }
                    Decoded::Incomplete { needed } => needed,
                },
            };
            let before = received.len();
            // All that is sure to come, and nothing behind it.
            let sure = self.client.min_remaining().saturating_sub(before);
            let mut next = (&mut *io).take(sure.max(needed) as u64);
            match Pin::new(&mut next)
                .poll_read(cx, &mut input)
                .map_err(broke)?
            {
                Poll::Ready(()) if input.filled().len() == before => {
                    return Poll::Ready(Err(broke(hung_up())));
                }
                Poll::Ready(()) => {}
                Poll::Pending => {
                    if before > self.input.len() {
                        self.input = input.filled().into();
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
