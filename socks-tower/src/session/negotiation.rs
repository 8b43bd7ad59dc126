//! Reading messages from a stream without losing what follows them.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socks_core::{Decode, Decoded, Username};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::session::{BoxError, Session, Stream, take_buffered};

/// What one read asks for at least. It holds all that a client sends in a
/// usual negotiation, so that a segment costs one read.
pub(crate) const READ_SIZE: usize = 512;

/// The deadline of a negotiation unless set: long enough for a slow link and a
/// slow verifier, short enough that clients who never finish do not pile up.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError<E> {
    /// The stream ended or failed.
    #[error(transparent)]
    Io(io::Error),
    /// What came is no such message.
    #[error(transparent)]
    Invalid(E),
}

/// Reads until `decode` finds a message at the front of `buffered`, and takes
/// it from there. What was read behind it stays.
///
/// `buffered` grows no further than the longest message and one read.
pub(crate) async fn receive<Io, T, E>(
    io: &mut Io,
    buffered: &mut Vec<u8>,
    mut decode: impl FnMut(&[u8]) -> Result<Decoded<T>, E>,
) -> Result<T, ReceiveError<E>>
where
    Io: AsyncRead + Unpin + ?Sized,
{
    loop {
        // Without a byte there is no message, so do not ask.
        if !buffered.is_empty() {
            match decode(buffered).map_err(ReceiveError::Invalid)? {
                Decoded::Complete { message, consumed } => {
                    buffered.drain(..consumed.min(buffered.len()));
                    return Ok(message);
                }
                Decoded::Incomplete { needed } => buffered.reserve(needed.max(READ_SIZE)),
            }
        } else {
            buffered.reserve(READ_SIZE);
        }
        if io.read_buf(buffered).await.map_err(ReceiveError::Io)? == 0 {
            return Err(ReceiveError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// The client's stream, lent to an [`AuthMethod`](crate::AuthMethod) for its
/// negotiation.
///
/// What is written is flushed by itself before the next read, and at the end.
///
/// Reading gives first what had been read too far, and nothing that is read
/// too far by [`read_message`](Self::read_message) is lost.
pub struct Negotiation<'a> {
    session: &'a Session,
    buffered: &'a mut Vec<u8>,
    io: &'a mut dyn Stream,
    /// Whether all that was written has been handed on: the client may wait for
    /// it before it sends what is to be read.
    is_flushed: bool,
    /// The client's stream has ended or failed.
    is_gone: bool,
}

impl<'a> Negotiation<'a> {
    /// The negotiation of the client of `session`, of which `buffered` has been
    /// read already.
    pub fn new(session: &'a Session, buffered: &'a mut Vec<u8>, io: &'a mut dyn Stream) -> Self {
        Self {
            session,
            buffered,
            io,
            is_flushed: true,
            is_gone: false,
        }
    }

    /// What is known of the client so far.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.session
    }

    /// The client says that it is `name`: what logs say of a login that fails.
    pub fn claim(&self, name: &Username) {
        self.session.watch.claimed(name);
    }

    /// Whether the client hung up, or its stream failed, while it was read from
    /// or written to.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Reads one message: of a type of your own that is [`Decode`], which is at this
    /// crate's root with all that it names, or of [`socks_core`].
    ///
    /// # Errors
    ///
    /// The stream's, [`io::ErrorKind::UnexpectedEof`] if it ends before the
    /// message does, and [`io::ErrorKind::InvalidData`] around the message's
    /// error if the bytes are no such message.
    pub async fn read_message<M>(&mut self) -> io::Result<M>
    where
        M: Decode<Error: Into<BoxError>>,
    {
        if !self.is_flushed {
            self.flush().await?;
        }
        match receive::<_, M, M::Error>(self.io, self.buffered, M::decode).await {
            Ok(message) => Ok(message),
            Err(ReceiveError::Io(error)) => {
                self.is_gone = true;
                Err(error)
            }
            Err(ReceiveError::Invalid(error)) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

impl fmt::Debug for Negotiation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiation")
            .field("session", self.session)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Negotiation<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if take_buffered(this.buffered, buf) {
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut *this).poll_flush(cx))?;
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut *this.io).poll_read(cx, buf));
        this.is_gone = read.is_err() || buf.filled().len() == before && buf.remaining() > 0;
        Poll::Ready(read)
    }
}

impl AsyncWrite for Negotiation<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_flushed = false;
        let written = ready!(Pin::new(&mut *this.io).poll_write(cx, buf));
        this.is_gone |= written.is_err();
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_flushed {
            ready!(Pin::new(&mut *this.io).poll_flush(cx))?;
            this.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().io).poll_shutdown(cx)
    }
}
