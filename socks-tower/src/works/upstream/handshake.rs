//! The client's side of SOCKS on a stream.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, ready},
};

use socks_core::{
    Decode, Decoded, Target,
    client::{Client, Event, Offer},
    v5::{self, Command},
};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::{UpstreamError, UpstreamFailure, method::Methods};
use crate::session::Stream;

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
    talk.answer(io, &mut Methods::none()).await
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

/// A client, and what is on its way from it and to it.
pub(super) struct Talk {
    pub(super) client: Client,
    out: Vec<u8>,
    /// Of `out`. What has been written is flushed before the next read.
    written: usize,
    /// What has come of a message whose rest is awaited.
    input: Vec<u8>,
}

impl Talk {
    /// Begins, or goes on with a client that has its first answer.
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            out: Vec::new(),
            written: 0,
            input: Vec::new(),
        }
    }

    /// Goes on up to the next answer to a request, and reads nothing behind it.
    pub(super) async fn answer<Io: Stream>(
        &mut self,
        io: &mut Io,
        methods: &mut Methods<'_>,
    ) -> Result<Target, UpstreamError> {
        loop {
            match poll_fn(|cx| self.poll_event(io, cx)).await? {
                Event::Granted(bound) | Event::Accepted(bound) => return Ok(bound),
                Event::MethodSelected(code) => {
                    // Boxed: few have such methods, and all would have its room.
                    let negotiated = Box::pin(methods.authenticate(code, io)).await;
                    negotiated
                        .map_err(|error| UpstreamError::new(UpstreamFailure::RefusedUs, error))?;
                    self.client.authenticated(&mut self.out)?;
                }
                _ => {}
            }
        }
    }

    /// Whether the proxy has the request.
    pub(super) fn is_asked(&self) -> bool {
        self.client.is_requested() && self.out.is_empty()
    }

    /// Goes on up to an event that takes more than the client.
    fn poll_event<Io: Stream>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Event, UpstreamError>> {
        if self.out.is_empty() {
            self.out = SPARE.try_with(Cell::take).unwrap_or_default();
            // The first time; later it is out of turn.
            let _ = self.client.start(&mut self.out);
        }
        let event = loop {
            ready!(self.poll_send(Pin::new(io), cx)).map_err(broke)?;
            match self.poll_receive(io, cx)? {
                Poll::Ready(Event::Advanced) => {}
                event => break event,
            }
        };
        let out = mem::take(&mut self.out);
        let _ = SPARE.try_with(|spare| spare.set(out));
        event.map(Ok)
    }

    fn poll_receive<Io: Stream>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Event, UpstreamError>> {
        // No message is longer.
        let mut room = [const { MaybeUninit::uninit() }; v5::Reply::MAX_LEN];
        let mut input = ReadBuf::uninit(&mut room);
        input.put_slice(&self.input);
        loop {
            let needed = match input.filled() {
                // Without a byte there is no message, so do not ask.
                [] => 1,
                received => match self.client.receive(received, &mut self.out)? {
                    Decoded::Complete { message, consumed } => {
                        self.input = received.get(consumed..).unwrap_or_default().into();
                        return Poll::Ready(Ok(message));
                    }
                    Decoded::Incomplete { needed } => needed,
                },
            };
            let before = input.filled().len();
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
                    self.input = input.filled().into();
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_send(
        &mut self,
        mut io: Pin<&mut impl Stream>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
            match ready!(io.as_mut().poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => self.written += len,
            }
        }
        ready!(io.poll_flush(cx))?;
        // It may be a password, and the next talk may be years away.
        self.out.fill(0);
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}
