//! The client's end of a session: its stream, what it sent early, and the
//! words to answer it in.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use socks_core::{Target, v5::ReplyCode};
use tokio::{
    io::{AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time::sleep,
};

use crate::session::{
    DEFAULT_TIMEOUT, Dialect, Error, ErrorKind, Reply, ReplyHook, Rewind, Session, Stream, Words,
    tcp, timeout, watch::Watch,
};

/// The client's end of a session that has sent its request.
///
/// Whoever answers the client does so through it: [`grant`](Self::grant) and
/// [`refuse`](Self::refuse) speak the protocol that the client does.
pub struct Inbound<Io> {
    pub(crate) io: Io,
    pub(crate) early: Vec<u8>,
    pub(crate) eof: bool,
    words: Words,
    hook: Option<ReplyHook>,
    watch: Watch,
}

impl<Io: Stream> Inbound<Io> {
    /// How much of what a client sends before it has its reply is kept for the
    /// target: 16 KiB. More is left in the socket, where it waits.
    pub const MAX_EARLY: usize = 16 * 1024;

    /// How long a client may take to take the reply that its request is granted.
    const PATIENCE: Duration = DEFAULT_TIMEOUT;

    /// How long a refused client has to take its reply and hang up.
    const LINGER: Duration = Duration::from_secs(1);

    /// How much a refused client may still send. What is left unread when the
    /// socket closes makes the kernel reset it, and the reset eats the reply.
    const MAX_DRAIN: usize = 64 * 1024;

    /// A client whose request has been read.
    ///
    /// `early` is what followed the request on the stream: it goes to the
    /// target first. `dialect` is often a [`Version`](crate::Version).
    pub fn new(io: Io, early: Vec<u8>, dialect: impl Dialect) -> Self {
        Self {
            io,
            early,
            eof: false,
            words: Words::new(dialect),
            hook: None,
            watch: Watch::default(),
        }
    }

    /// Answers as a first stage was told to, and tells whoever watches `session`
    /// of it.
    pub(crate) fn answering(mut self, hook: Option<ReplyHook>, session: &Session) -> Self {
        self.hook = hook;
        self.watch = session.watch.clone();
        self
    }

    /// The stream. Read through it only what is yours: the target waits for
    /// the rest.
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// The plain TCP socket that the stream is, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        tcp(&self.io)
    }

    /// The same over another stream, which `wrap` makes of this one: its reply, and
    /// all that follows, goes through that. What the client sent early has been read
    /// already, and is not.
    pub fn map_io<New: Stream>(self, wrap: impl FnOnce(Io) -> New) -> Inbound<New> {
        Inbound {
            io: wrap(self.io),
            early: self.early,
            eof: self.eof,
            words: self.words,
            hook: self.hook,
            watch: self.watch,
        }
    }

    /// The stream, to go on with once the request is granted: for a command or a
    /// relay of your own. What the client sent early is read first.
    pub fn into_stream(self) -> Rewind<Io> {
        Rewind::new(self.early, self.io)
    }

    /// Replies that the request is granted. `bound` is BND.ADDR and BND.PORT.
    ///
    /// # Errors
    ///
    /// The stream's, as an error of kind [`ErrorKind::ClientGone`], and
    /// [`ErrorKind::Deadline`] if the client does not take the reply within 10
    /// seconds.
    pub async fn grant(&mut self, bound: &Target) -> Result<(), Error> {
        let reply = self.words.encode(&Reply::Granted { bound });
        self.watch.replied(ReplyCode::SUCCEEDED);
        let mut writing = pin!(write(&mut self.io, &reply));
        // All but all sockets take it at once, and need no timer.
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await {
            return done.map_err(Error::client);
        }
        match Box::pin(timeout(Self::PATIENCE, writing)).await {
            Ok(done) => done.map_err(Error::client),
            Err(elapsed) => Err(Error::new(ErrorKind::Deadline, elapsed)),
        }
    }

    /// Replies that the request is refused because of `error`, and sees to it
    /// that the reply arrives: the sending side is shut down, and what the
    /// client still sends is read and discarded, for a second and 64 KiB at
    /// most. Gives `error` back, for the stage to fail with.
    pub async fn refuse(mut self, error: Error) -> Error {
        if error.kind() == ErrorKind::ClientGone {
            return error;
        }
        let code = ReplyHook::reply(self.hook.as_ref(), &error);
        self.watch.replied(code);
        let reply = self.words.encode(&Reply::Refused {
            code,
            error: &error,
        });
        dismiss(&mut self.io, &reply).await;
        error
    }

    /// Runs `work`, and gives it up as soon as the client is gone.
    ///
    /// What the client sends meanwhile is kept for the target, up to
    /// [`MAX_EARLY`](Self::MAX_EARLY). The end of its stream is a half-close:
    /// it is passed on later, and ends nothing here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ClientGone`] if the client reset the connection.
    pub async fn watch<F: Future>(&mut self, work: F) -> Result<F::Output, Error> {
        let mut work = pin!(work);
        if let Some(output) = self.work_and_read(work.as_mut()).await {
            return output;
        }
        // Reading tells nothing any more; of a plain socket, a reset still shows.
        let Some(tcp) = tcp(&self.io) else {
            return Ok(work.await);
        };
        tokio::select! {
            biased;
            output = work => Ok(output),
            error = Box::pin(reset_of(tcp)) => Err(Error::client(error)),
        }
    }

    /// As [`watch`](Self::watch), but the end of the client's stream ends the
    /// work too: for commands that wait on behalf of a client, and not to do
    /// what it has said.
    ///
    /// Once [`MAX_EARLY`](Self::MAX_EARLY) has come, the end behind it is still
    /// seen of a plain socket, within a second.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ClientGone`] if the client hung up or reset the connection.
    pub async fn watch_open<F: Future>(&mut self, work: F) -> Result<F::Output, Error> {
        let mut work = pin!(work);
        if let Some(output) = self.work_and_read(work.as_mut()).await {
            return output;
        }
        if self.eof {
            return Err(Error::client(io::ErrorKind::UnexpectedEof.into()));
        }
        let Some(tcp) = tcp(&self.io) else {
            return Ok(work.await);
        };
        tokio::select! {
            biased;
            output = work => Ok(output),
            error = Box::pin(end_of(tcp)) => Err(Error::client(error)),
        }
    }

    /// Runs `work` and reads what the client sends early; none, if there is no
    /// more to read, now or at all.
    async fn work_and_read<F: Future>(
        &mut self,
        mut work: Pin<&mut F>,
    ) -> Option<Result<F::Output, Error>> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(Ok(output))),
            Poll::Pending => match self.poll_early(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Some(Err(Error::client(error)))),
                Poll::Ready(Ok(())) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
        })
        .await
    }

    /// Reads and forgets what the client sends; ready once it is gone, with an
    /// error unless it hung up in order.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.early = Vec::new();
        let mut space = [MaybeUninit::uninit(); 512];
        while !self.eof {
            let mut buf = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            self.eof = buf.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what the client sends early; ready when no more can be read.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); 2048];
        while !self.eof && self.early.len() < Self::MAX_EARLY {
            let room = (Self::MAX_EARLY - self.early.len()).min(space.len());
            let mut buf = ReadBuf::uninit(space.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                self.eof = true;
            }
            self.early.extend_from_slice(buf.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io> fmt::Debug for Inbound<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("early", &self.early.len())
            .field("eof", &self.eof)
            .finish_non_exhaustive()
    }
}

/// How often to ask after a client that has sent more than is read.
const LOOK: Duration = Duration::from_secs(1);

/// Resolves when the connection is reset.
async fn reset_of(tcp: &TcpStream) -> io::Error {
    loop {
        match tcp.ready(Interest::ERROR).await {
            Ok(ready) if ready.is_error() => {
                let reset = || io::ErrorKind::ConnectionReset.into();
                return tcp.take_error().ok().flatten().unwrap_or_else(reset);
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// Resolves when the connection has ended in either way, though bytes may wait
/// that nobody reads.
async fn end_of(tcp: &TcpStream) -> io::Error {
    loop {
        match tcp.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(ready) if ready.is_error() => return reset_of(tcp).await,
            Ok(ready) if ready.is_read_closed() => return io::ErrorKind::UnexpectedEof.into(),
            // It is readable all the time, so do not ask all the time.
            Ok(_) => sleep(LOOK).await,
            Err(error) => return error,
        }
    }
}

async fn write<Io: Stream>(io: &mut Io, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

/// Says a last word and hangs up in such a way that it arrives.
///
/// Nothing that goes wrong here matters to anybody any more.
///
/// In a box, or every session would carry its timer about in case that it is
/// dismissed.
pub(crate) fn dismiss<'a, Io: Stream>(
    io: &'a mut Io,
    last_words: &'a [u8],
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    let dismissal = async move {
        if !last_words.is_empty() {
            write(io, last_words).await?;
        }
        io.shutdown().await?;
        let mut left = Inbound::<Io>::MAX_DRAIN;
        while left > 0 {
            match poll_fn(|cx| poll_discard(io, left, cx)).await? {
                0 => break,
                read => left -= read,
            }
        }
        Ok::<_, io::Error>(())
    };
    Box::pin(async {
        let _ = timeout(Inbound::<Io>::LINGER, dismissal).await;
    })
}

/// Reads some bytes, `most` at most, and says how many. The space for them is on
/// the stack.
fn poll_discard<Io: Stream>(
    io: &mut Io,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [MaybeUninit::uninit(); 2048];
    let room = most.min(space.len());
    let mut buf = ReadBuf::uninit(space.get_mut(..room).unwrap_or_default());
    ready!(Pin::new(io).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}
