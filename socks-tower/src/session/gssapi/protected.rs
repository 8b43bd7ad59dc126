use std::{
    fmt, io, mem,
    ops::Range,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as Cx, Poll, ready},
    time::Duration,
};

use socks_core::{
    Decode, Decoded, Encode,
    v5::{
        Command,
        gssapi::{Header, MessageType},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{Context, GssApiError, Unwrapped};
use crate::session::{BoxStream, DatagramWrapper};

/// What one read asks for at least.
const READ: usize = 4096;

/// A context that a stream and its datagrams share.
#[derive(Clone)]
struct Shared(Arc<Mutex<Box<dyn Context>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Box<dyn Context>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a stream and the datagrams that belong to it become under `context`.
pub(crate) fn protect(
    mut context: Box<dyn Context>,
    encrypt: bool,
    order: Order,
    lifetime: Option<Duration>,
) -> Result<
    (
        impl FnOnce(BoxStream) -> Protected + Send + use<>,
        Datagrams,
    ),
    GssApiError,
> {
    let most = context.most(encrypt)?;
    let context = Shared(Arc::new(Mutex::new(context)));
    let datagrams = Datagrams {
        context: context.clone(),
        encrypt,
    };
    let ends = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
    let wrap = move |io| Protected {
        io,
        context,
        encrypt,
        most,
        order,
        ends: ends.map(|ends| Box::pin(sleep_until(ends))),
        received: Vec::new(),
        plain: 0..0,
        end: 0,
        unsent: Vec::new(),
    };
    Ok((wrap, datagrams))
}

/// Whether the order of messages must be known to be kept.
///
/// Over TCP it must; for a client that sends datagrams it need not, so it does not ask
/// for it (RFC 1961 section 3). Which is which its request says, of which these are the
/// first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is kept, or need not be.
    Fine,
    /// It is not: the request, of which so many bytes have been seen, must be for
    /// UDP ASSOCIATE.
    UdpAlone { seen: u8 },
}

impl Order {
    fn see(&mut self, plain: &[u8]) -> io::Result<()> {
        for byte in plain {
            match self {
                Self::Fine => break,
                Self::UdpAlone { seen: 0 } => *self = Self::UdpAlone { seen: 1 },
                Self::UdpAlone { .. } if *byte == Command::UDP_ASSOCIATE.0 => *self = Self::Fine,
                Self::UdpAlone { .. } => {
                    return Err(broken("its context does not keep the order of messages"));
                }
            }
        }
        Ok(())
    }
}

/// A stream whose bytes travel as tokens of a context (RFC 1961 section 5).
///
/// While nothing moves, it holds no buffer.
pub(crate) struct Protected {
    io: BoxStream,
    context: Shared,
    encrypt: bool,
    /// How much fits a message.
    most: usize,
    order: Order,
    /// When the ticket ends.
    ends: Option<Pin<Box<Sleep>>>,
    /// What has come: a message that is being read or has been unwrapped, and maybe
    /// what follows it.
    received: Vec<u8>,
    /// What of it is still to be handed out; if none, `received` begins with a message.
    plain: Range<usize>,
    /// Where that message ends.
    end: usize,
    /// What has been wrapped and not yet written.
    unsent: Vec<u8>,
}

impl Protected {
    fn poll_ticket(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let Some(ends) = &mut self.ends else {
            return Ok(());
        };
        match ends.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client's ticket has expired",
            )),
        }
    }

    /// Unwraps the message at the front of what has come; says how much is missing if
    /// it is not whole.
    fn unwrap(&mut self) -> io::Result<Result<(), usize>> {
        let header = match Header::decode(&self.received) {
            Ok(Decoded::Complete { message, .. }) => message,
            Ok(Decoded::Incomplete { needed }) => return Ok(Err(needed)),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        if header.message_type != MessageType::Data {
            return Err(broken("a message that is not of data"));
        }
        let end = Header::LEN + usize::from(header.len);
        let Some(token) = self.received.get_mut(Header::LEN..end) else {
            return Ok(Err(end - self.received.len()));
        };
        let plain = unwrap(&self.context, self.encrypt, token).map_err(invalid)?;
        self.order
            .see(token.get(plain.clone()).unwrap_or_default())?;
        self.plain = Header::LEN + plain.start..Header::LEN + plain.end;
        self.end = end;
        self.leave();
        Ok(Ok(()))
    }

    /// Leaves a message that has been handed out behind.
    fn leave(&mut self) {
        if self.plain.is_empty() {
            self.received.drain(..self.end.min(self.received.len()));
        }
    }

    /// Hands out what has been unwrapped.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let len = self.plain.len().min(buf.remaining());
        let at = self.plain.start..self.plain.start + len;
        buf.put_slice(self.received.get(at).unwrap_or_default());
        self.plain.start += len;
        self.leave();
    }

    /// Writes what has been wrapped.
    fn poll_send(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let written = loop {
            let unsent = self.unsent.get(sent..).unwrap_or_default();
            if unsent.is_empty() {
                self.unsent = Vec::new();
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.io).poll_write(cx, unsent) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(len)) => sent += len,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.unsent.drain(..sent.min(self.unsent.len()));
        written
    }
}

impl AsyncRead for Protected {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_ticket(cx)?;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while this.plain.is_empty() {
            let missing = match this.unwrap()? {
                Ok(()) => continue,
                Err(missing) => missing,
            };
            this.received.reserve_exact(missing.max(READ));
            let read = pin!(this.io.read_buf(&mut this.received)).poll(cx);
            if read.is_pending() && this.received.is_empty() {
                this.received = Vec::new();
            }
            if ready!(read)? == 0 {
                return Poll::Ready(match this.received.is_empty() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                });
            }
        }
        this.hand_out(buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Protected {
    /// Takes what fits a message, once the one before is on its way.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Cx<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_ticket(cx)?;
        ready!(this.poll_send(cx))?;
        let plain = buf.get(..this.most).unwrap_or(buf);
        if plain.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut unsent = mem::take(&mut this.unsent);
        wrap(&this.context, this.encrypt, plain, &mut unsent).map_err(invalid)?;
        this.unsent = unsent;
        // What goes wrong with it, or is left of it, the next call sees.
        if let Poll::Ready(sent) = this.poll_send(cx) {
            sent?;
        }
        Poll::Ready(Ok(plain.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

/// Datagrams as tokens of the context that the stream has too.
pub(crate) struct Datagrams {
    context: Shared,
    encrypt: bool,
}

impl DatagramWrapper for Datagrams {
    fn wrap(&self, datagram: &[u8], out: &mut Vec<u8>) -> bool {
        wrap(&self.context, self.encrypt, datagram, out).is_ok()
    }

    fn unwrap(&self, datagram: &mut [u8]) -> Option<Range<usize>> {
        let Ok(Decoded::Complete { message, .. }) = Header::decode(datagram) else {
            return None;
        };
        let (_, token) = datagram.split_at_mut_checked(Header::LEN)?;
        // A datagram is one message.
        if message.message_type != MessageType::Data || usize::from(message.len) != token.len() {
            return None;
        }
        let plain = unwrap(&self.context, self.encrypt, token).ok()?;
        Some(Header::LEN + plain.start..Header::LEN + plain.end)
    }
}

/// Appends the message of `plain` to `out`.
fn wrap(
    context: &Shared,
    encrypt: bool,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), GssApiError> {
    let message_type = MessageType::Data;
    let start = out.len();
    Header {
        message_type,
        len: 0,
    }
    .encode(out);
    context.lock().wrap(encrypt, plain, out)?;
    let len = out.len() - start - Header::LEN;
    let len = u16::try_from(len).map_err(|_long| GssApiError::from("too long for a message"))?;
    let header = Header { message_type, len }.to_bytes();
    if let Some(place) = out.get_mut(start..start + Header::LEN) {
        place.copy_from_slice(&header);
    }
    Ok(())
}

/// Unwraps a token in its place, and says where in it that is.
fn unwrap(context: &Shared, encrypt: bool, token: &mut [u8]) -> Result<Range<usize>, GssApiError> {
    let Unwrapped { range, encrypted } = context.lock().unwrap(token)?;
    if encrypt && !encrypted {
        return Err("a message in clear".into());
    }
    token.get(range.clone()).ok_or("it lies elsewhere")?;
    Ok(range)
}

fn invalid(error: GssApiError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl fmt::Debug for Protected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protected(..)")
    }
}
