//! A tunnel that carries a client's request to its target.
//!
//! It is a session of the stages behind this one, as a CONNECT's is. Its client is a
//! pipe, at whose other end hyper speaks to the origin.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use http::{HeaderValue, Response};
use hyper::client::conn::http1;
use socks_core::{
    Target,
    v5::{Command, ReplyCode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    time::{Instant, sleep},
};
use tracing::debug;

use super::{
    body::Upload,
    pipe::{Carried, Near, pipe},
    wire::{Awaited, Expected, Responses, Wire},
};
use crate::{
    session::{
        BoxStream, ClientStream, Dialect, Error, Identity, Inbound, Reply, ReplyHook, Request,
        Requested, Session, Stage, Stream, Transfer, trace,
    },
    stages::http_connect::words::Http,
    works::reuse::{Idle, Lease},
};

/// How long a tunnel that nobody uses any more has to end in order.
const LINGER: Duration = Duration::from_secs(1);

/// The most that hyper keeps of a message that is not taken.
pub(super) const MAX_BUFFER: usize = 128 * 1024;

/// What a connection to an origin is kept for: its target, for whoever sent these
/// credentials and was taken for this.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) target: Target,
    pub(super) credentials: Option<HeaderValue>,
    pub(super) identity: Option<Identity>,
}

/// What is left of a connection to an origin that speaks something else now.
pub(super) type Switched = http1::Parts<Wire<Near, Responses>>;

/// A tunnel, as whoever sends a request through it sees it.
pub(super) struct Tunnel {
    pub(super) sender: http1::SendRequest<Upload>,
    pub(super) expected: Expected,
    /// What the client is to hear if the session is refused.
    pub(super) refusal: oneshot::Receiver<Response<String>>,
    pub(super) switched: oneshot::Receiver<Switched>,
    pub(super) lease: Lease,
    /// Told, it is left though its request is not complete.
    pub(super) leaver: oneshot::Sender<()>,
}

/// The session of a tunnel. Its connections are closed when it is done or dropped, but
/// for one that may be used again.
pub(super) type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// A tunnel that is over.
pub(super) struct Ended {
    pub(super) outcome: Result<Transfer, Error>,
    pub(super) idle: Option<Idle>,
}

/// What the client hears if its tunnel is refused, and nothing if it is not: the
/// origin's answer comes next.
#[derive(Clone)]
struct Verdict(Arc<Undecided>);

struct Undecided {
    words: Http,
    hook: Option<ReplyHook>,
    refusal: Mutex<Option<oneshot::Sender<Response<String>>>>,
}

impl Verdict {
    /// None once it is decided.
    fn take(&self) -> Option<oneshot::Sender<Response<String>>> {
        let refusal = self.0.refusal.lock();
        refusal.unwrap_or_else(PoisonError::into_inner).take()
    }

    fn refuse(&self, code: ReplyCode, error: &Error) {
        if let Some(refusal) = self.take() {
            // Nobody may wait for it any more.
            let _ = refusal.send(self.0.words.refusal(code, error));
        }
    }

    /// The session has failed, perhaps without a word: a limit between the stages has
    /// none.
    fn failed(&self, error: &Error) {
        self.refuse(ReplyHook::reply(self.0.hook.as_ref(), error), error);
    }
}

impl Dialect for Verdict {
    fn encode(&self, reply: &Reply<'_>, _: &mut Vec<u8>) {
        match *reply {
            Reply::Granted { .. } => drop(self.take()),
            Reply::Refused { code, error, .. } => self.refuse(code, error),
        }
    }
}

/// How the session that a tunnel is begins.
pub(super) struct Opening {
    pub(super) session: Session,
    pub(super) target: Target,
    pub(super) words: Http,
    pub(super) hook: Option<ReplyHook>,
    pub(super) awaited: Awaited,
    /// A connection that it may use.
    pub(super) idle: Option<Idle>,
}

impl Opening {
    /// Begins it. What is to be run comes with the tunnel.
    pub(super) async fn open<Io, S>(self, mut inner: S) -> Result<(Tunnel, Running), Error>
    where
        Io: Stream,
        S: Stage<Requested<ClientStream<Io>>, Response = Transfer>,
    {
        let mut session = self.session;
        let lease = Lease::of(self.idle);
        if !self.awaited.may_switch {
            session.extensions.insert(lease.clone());
        }
        let (near, far, carried) = pipe();
        let (refuse, refusal) = oneshot::channel();
        let verdict = Verdict(Arc::new(Undecided {
            words: self.words,
            hook: self.hook.clone(),
            refusal: Mutex::new(Some(refuse)),
        }));
        let request = Request::new(session, Command::CONNECT, self.target);
        trace::requested(&request);
        let far = ClientStream::wrapped(BoxStream::new(far));
        let client = Inbound::new(far, Vec::new(), verdict.clone());
        let client = client.answering(self.hook, &request.session);
        poll_fn(|cx| inner.poll_ready(cx))
            .await
            .map_err(Error::passed)?;
        let session = inner.call(Requested { client, request });
        let session = Box::pin(async { session.await.map_err(Error::passed) });

        let expected = Expected::of(self.awaited);
        let wire = Wire::new(near, Vec::new(), Responses(expected.clone()));
        let mut builder = http1::Builder::new();
        builder.preserve_header_case(true).max_buf_size(MAX_BUFFER);
        let (sender, connection) = builder.handshake(wire).await.map_err(Error::passed)?;
        let (switch, switched) = oneshot::channel();
        let (leaver, left) = oneshot::channel();
        let running = Run {
            session,
            verdict,
            expected: expected.clone(),
            switch,
            left,
            carried,
            lease: lease.clone(),
        };
        let tunnel = Tunnel {
            sender,
            expected,
            refusal,
            switched,
            lease,
            leaver,
        };
        Ok((tunnel, Box::pin(running.run(connection))))
    }
}

/// What runs a tunnel.
struct Run {
    session: Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>,
    verdict: Verdict,
    expected: Expected,
    switch: oneshot::Sender<Switched>,
    left: oneshot::Receiver<()>,
    carried: Arc<Carried>,
    lease: Lease,
}

impl Run {
    /// To its end: until its request has been answered, or its session is over and what
    /// it brought has been read.
    async fn run(self, connection: http1::Connection<Wire<Near, Responses>, Upload>) -> Ended {
        let Self {
            session,
            verdict,
            expected,
            switch,
            left,
            carried,
            lease,
        } = self;
        let began = Instant::now();
        let mut session = Some(session);
        let mut ended = None;
        let parts = {
            let mut speaking = pin!(connection.without_shutdown());
            let mut left = pin!(async {
                // Most are not told so: they go on.
                if left.await.is_err() {
                    pending::<()>().await;
                }
            });
            poll_fn(|cx| {
                if let Some(running) = &mut session
                    && let Poll::Ready(outcome) = running.as_mut().poll(cx)
                {
                    if let Err(error) = &outcome {
                        verdict.failed(error);
                    }
                    ended = Some(outcome);
                    // It may have ended without closing its connections.
                    session = None;
                }
                if left.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                speaking.as_mut().poll(cx).map(Some)
            })
            .await
        };
        // The end of whoever spoke, if the connection behind it is as it was before.
        let mut near_end = None;
        match parts {
            None => {}
            Some(Ok(parts)) if expected.has_switched() => drop(switch.send(parts)),
            Some(Ok(parts)) => {
                let is_over = parts.read_buf.is_empty() && parts.io.is_between_messages();
                let (mut near, _) = parts.io.into_parts();
                if is_over {
                    lease.over();
                }
                // In memory, where nothing fails that matters.
                let _ = near.shutdown().await;
                near_end = Some(near).filter(|_| is_over && expected.persists());
            }
            Some(Err(error)) => debug!(%error, "an origin broke HTTP"),
        }
        if let Some(session) = session {
            let nobody = async {
                if near_end.is_none() {
                    carried.left.notified().await;
                }
                sleep(LINGER).await;
            };
            ended = tokio::select! {
                biased;
                outcome = session => Some(outcome),
                () = nobody => None,
            };
        }
        let idle = match near_end {
            // Nothing came that nobody has asked for.
            Some(mut near) if ended.is_some() => match near.read(&mut [0]).await {
                Ok(0) => lease.take(),
                _ => None,
            },
            _ => None,
        };
        let outcome = ended.unwrap_or_else(|| {
            Ok(Transfer {
                up: carried.up.load(Ordering::Relaxed),
                down: carried.down.load(Ordering::Relaxed),
                duration: began.elapsed(),
                ..Transfer::default()
            })
        });
        Ended { outcome, idle }
    }
}
