//! A tunnel that carries a client's requests to one target.
//!
//! It is a session of the stages behind this one, as a CONNECT's is. Its client is a
//! pipe, at whose other end hyper speaks to the origin.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use http::{HeaderValue, Response};
use hyper::client::conn::http1;
use socks_core::{Target, v5::Command};
use tokio::{
    io::AsyncWriteExt,
    sync::oneshot,
    time::{Instant, sleep},
};
use tracing::debug;

use super::{
    body::Upload,
    pipe::{Carried, Near, pipe},
    wire::{Expected, Responses, Wire},
};
use crate::{
    session::{
        BoxStream, ClientStream, Dialect, Error, Identity, Inbound, Reply, ReplyHook, Request,
        Requested, Session, Stage, Stream, Transfer, trace,
        watch::{Observer, Record, Watching},
    },
    stages::http_connect::words::Http,
};

/// How long a tunnel that nobody uses any more has to end in order.
const LINGER: Duration = Duration::from_secs(1);

/// The most that hyper keeps of a message that is not taken.
pub(super) const MAX_BUFFER: usize = 128 * 1024;

/// What a tunnel is kept for: its target, for whoever sent these credentials and was
/// taken for this.
#[derive(PartialEq, Eq)]
pub(super) struct Key {
    pub(super) target: Target,
    pub(super) credentials: Option<HeaderValue>,
    pub(super) identity: Option<Identity>,
}

/// What is left of a connection to an origin that speaks something else now.
pub(super) type Switched = http1::Parts<Wire<Near, Responses>>;

/// A tunnel, as whoever sends requests through it sees it.
pub(super) struct Tunnel {
    pub(super) key: Key,
    pub(super) sender: http1::SendRequest<Upload>,
    pub(super) expected: Expected,
    /// What the client is to hear if the session is refused.
    pub(super) refusal: oneshot::Receiver<Response<String>>,
    pub(super) switched: oneshot::Receiver<Switched>,
    pub(super) peer: Arc<Peer>,
    pub(super) is_new: bool,
}

/// Where a tunnel leads.
#[derive(Debug, Default)]
pub(super) struct Peer(OnceLock<SocketAddr>);

impl Peer {
    pub(super) fn is_one_of(&self, addrs: &[SocketAddr]) -> bool {
        self.0.get().is_some_and(|addr| addrs.contains(addr))
    }
}

impl Observer for Peer {
    fn established(&self, record: &Record) {
        if let Some(addr) = record.upstream_addr {
            let _ = self.0.set(addr);
        }
    }
}

/// The session of a tunnel. Its connections are closed when it is done or dropped.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>;

/// What the client hears if its tunnel is refused, and nothing if it is not: the
/// origin's answer comes next.
struct Verdict {
    words: Http,
    refusal: Mutex<Option<oneshot::Sender<Response<String>>>>,
}

impl Dialect for Verdict {
    fn encode(&self, reply: &Reply<'_>, _: &mut Vec<u8>) {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Reply::Refused { code, error, .. }, Some(refusal)) = (reply, refusal.take()) {
            // Nobody may wait for it any more.
            let _ = refusal.send(self.words.refusal(*code, error));
        }
    }
}

/// How the session that a tunnel is begins.
pub(super) struct Opening {
    pub(super) session: Session,
    pub(super) watchers: Vec<Watching>,
    pub(super) key: Key,
    pub(super) words: Http,
    pub(super) hook: Option<ReplyHook>,
    pub(super) is_kept: bool,
}

impl Opening {
    /// Begins it. What is to be run comes with the tunnel.
    pub(super) async fn open<Io, S>(self, mut inner: S) -> Result<(Tunnel, Running), Error>
    where
        Io: Stream,
        S: Stage<Requested<ClientStream<Io>>, Response = Transfer>,
    {
        let Self {
            mut session,
            mut watchers,
            key,
            words,
            hook,
            is_kept,
        } = self;
        let peer = Arc::new(Peer::default());
        if is_kept {
            let peer: Arc<dyn Observer> = Arc::clone(&peer) as _;
            let watching = Watching::begin_at(Instant::now(), &peer, &mut session);
            watchers.push(watching);
        }
        let (near, far, carried) = pipe();
        let (refuse, refusal) = oneshot::channel();
        let words = Verdict {
            words,
            refusal: Mutex::new(Some(refuse)),
        };
        let request = Request::new(session, Command::CONNECT, key.target.clone());
        trace::requested(&request);
        let far = ClientStream::wrapped(BoxStream::new(far));
        let client = Inbound::new(far, Vec::new(), words).answering(hook, &request.session);
        poll_fn(|cx| inner.poll_ready(cx))
            .await
            .map_err(Error::passed)?;
        let session = inner.call(Requested { client, request });
        let session = Box::pin(async { session.await.map_err(Error::passed) });

        let expected = Expected::default();
        let wire = Wire::new(near, Vec::new(), Responses(expected.clone()));
        let mut builder = http1::Builder::new();
        builder.preserve_header_case(true).max_buf_size(MAX_BUFFER);
        let (sender, connection) = builder.handshake(wire).await.map_err(Error::passed)?;
        let (switch, switched) = oneshot::channel();
        let running = run(
            session,
            connection,
            expected.clone(),
            switch,
            carried,
            watchers,
        );
        let tunnel = Tunnel {
            key,
            sender,
            expected,
            refusal,
            switched,
            peer,
            is_new: true,
        };
        Ok((tunnel, Box::pin(running)))
    }
}

/// Runs a tunnel to its end: until nobody sends requests any more, or its session is
/// over and what it brought has been read.
async fn run(
    session: Running,
    connection: http1::Connection<Wire<Near, Responses>, Upload>,
    expected: Expected,
    switch: oneshot::Sender<Switched>,
    carried: Arc<Carried>,
    watchers: Vec<Watching>,
) -> Result<Transfer, Error> {
    let began = Instant::now();
    let mut session = Some(session);
    let mut ended = None;
    let parts = {
        let mut speaking = pin!(connection.without_shutdown());
        poll_fn(|cx| {
            if let Some(running) = &mut session
                && let Poll::Ready(outcome) = running.as_mut().poll(cx)
            {
                ended = Some(outcome);
                // It may have ended without closing its connections.
                session = None;
            }
            speaking.as_mut().poll(cx)
        })
        .await
    };
    match parts {
        Ok(parts) if expected.has_switched() => drop(switch.send(parts)),
        // In memory, where nothing fails that matters.
        Ok(parts) => drop(parts.io.into_parts().0.shutdown().await),
        Err(error) => debug!(%error, "an origin broke HTTP"),
    }
    if let Some(session) = session {
        let nobody = async {
            carried.left.notified().await;
            sleep(LINGER).await;
        };
        ended = tokio::select! {
            biased;
            outcome = session => Some(outcome),
            () = nobody => None,
        };
    }
    let outcome = ended.unwrap_or_else(|| {
        Ok(Transfer {
            up: carried.up.load(Ordering::Relaxed),
            down: carried.down.load(Ordering::Relaxed),
            duration: began.elapsed(),
            ..Transfer::default()
        })
    });
    for watching in watchers.into_iter().rev() {
        watching.ended(outcome.as_ref());
    }
    outcome
}
