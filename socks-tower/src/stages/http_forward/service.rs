use std::{
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use pin_project_lite::pin_project;
use tokio::{
    io::AsyncReadExt,
    sync::oneshot,
    time::{Sleep, sleep},
};
use tower_layer::Layer;
use tower_service::Service;
use tracing::debug;

use super::{
    HttpForwardLayer,
    exchange::{Client, NO_ANSWER},
    switch,
    tunnel::{Key, MAX_BUFFER, Running, Switched},
    wire::{CONNECT, Desk, Requests, Wire},
};
use crate::{
    session::{
        Accepted, ClientStream, Error, ErrorKind, Protocol, READ_SIZE, Requested, Session, Stage,
        StageFuture, Stream, Transfer, always_ready, dismiss, tcp, timeout_at, watch::Watching,
    },
    stages::http_connect::{HttpConnect, HttpConnectFuture, words::Status},
    works::reuse::Idle,
};

/// Lets the client in and serves its requests, or its CONNECT, by `S`. See the
/// [module's page](crate::stages::http_forward).
#[derive(Clone, Debug)]
pub struct HttpForward<S> {
    pub(super) config: HttpForwardLayer,
    pub(super) inner: S,
}

impl<Io, S> Service<Accepted<Io>> for HttpForward<S>
where
    Io: Stream,
    S: Stage<Requested<ClientStream<Io>>, Response = Transfer>,
{
    type Response = Transfer;
    type Error = Error;
    type Future = StageFuture<HttpForwardFuture<HttpConnectFuture<S::Future>>>;

    always_ready!();

    fn call(&mut self, mut accepted: Accepted<Io>) -> Self::Future {
        // As a rule it has come with the byte that told HTTP from SOCKS.
        if accepted.buffered.starts_with(CONNECT) {
            let tunnel = self.connect().call(accepted);
            return StageFuture::next(tunnel.into());
        }
        let this = self.clone();
        StageFuture::boxed(async move {
            if begins_with_connect(&this.config, &mut accepted).await {
                return Ok(this.connect().call(accepted).into());
            }
            accepted.session.speaks(Protocol::Http);
            // In a box, or each tunnel would begin in one of that size.
            let done = Box::pin(serve(this, accepted)).await?;
            let how = How::Done { done: Some(done) };
            Ok(HttpForwardFuture { how })
        })
    }
}

impl<S: Clone> HttpForward<S> {
    fn connect(&self) -> HttpConnect<S> {
        self.config.http.layer(self.inner.clone())
    }
}

/// Reads no further than it takes to tell. What goes wrong meanwhile does so again for
/// whoever reads on.
async fn begins_with_connect<Io: Stream>(
    config: &HttpForwardLayer,
    accepted: &mut Accepted<Io>,
) -> bool {
    let deadline = accepted.deadline(config.http.timeout);
    while CONNECT.starts_with(&accepted.buffered) && accepted.buffered.len() < CONNECT.len() {
        accepted.buffered.reserve(READ_SIZE);
        let read = accepted.io.read_buf(&mut accepted.buffered);
        match timeout_at(deadline, read).await {
            Ok(Ok(1..)) => {}
            _ => return true,
        }
    }
    accepted.buffered.starts_with(CONNECT)
}

/// The requests of a client's connection: what becomes of them, and the tunnels that
/// they go through. One task runs all.
#[derive(Default)]
pub(super) struct Tunnels(Mutex<State>);

#[derive(Default)]
struct State {
    /// That of the last request, and those that are about to end.
    running: Vec<One>,
    /// The connection that the last one left.
    idle: Option<(Key, Idle)>,
    has_begun: bool,
    /// What became of the first request: that is what became of the client's session.
    first: Option<Result<Transfer, Error>>,
    /// What the client's requests were the last of.
    switched: Option<oneshot::Receiver<Switched>>,
}

struct One {
    tunnel: Running,
    visit: Visit,
    key: Key,
    /// Dropped when it is over.
    _over: oneshot::Sender<()>,
}

/// A request, from when its head is here: a session of its own.
///
/// The first has the client's, and each other one another, which the same observers
/// watch. Dropped before its end is told, it was cut.
pub(super) struct Visit {
    pub(super) session: Session,
    is_first: bool,
    _watching: Vec<Watching>,
}

impl Tunnels {
    /// How many may be about to end.
    const MAX: usize = 4;

    fn lock(&self) -> MutexGuard<'_, State> {
        // What panics while it is held ends the session.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the session of a request of this client.
    pub(super) fn visit(&self, client: &Session) -> Visit {
        let is_first = !mem::replace(&mut self.lock().has_begun, true);
        let (session, watching) = match is_first {
            true => (client.clone(), Vec::new()),
            false => client.again(),
        };
        Visit {
            session,
            is_first,
            _watching: watching,
        }
    }

    /// Ends it.
    pub(super) fn end(&self, visit: Visit, outcome: Result<Transfer, Error>) {
        visit.session.watch.ended(outcome.as_ref());
        if visit.is_first {
            self.lock().first = Some(outcome);
        }
    }

    /// Runs the tunnel of a request. What it gives is dropped when that is over.
    pub(super) fn run(&self, visit: Visit, key: Key, tunnel: Running) -> oneshot::Receiver<()> {
        let (over, ended) = oneshot::channel();
        let mut state = self.lock();
        if state.running.len() >= Self::MAX {
            drop(state.running.remove(0));
        }
        state.running.push(One {
            tunnel,
            visit,
            key,
            _over: over,
        });
        ended
    }

    /// The connection that the last tunnel left, if it is for this; else it is closed.
    pub(super) fn take_idle(&self, key: &Key) -> Option<Idle> {
        let (of, idle) = self.lock().idle.take()?;
        (of == *key).then_some(idle)
    }

    pub(super) fn switches(&self, switched: oneshot::Receiver<Switched>) {
        self.lock().switched = Some(switched);
    }

    /// Ready when none is left.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // They may not be polled under the lock.
        let mut running = mem::take(&mut self.lock().running);
        let mut at = 0;
        while let Some(one) = running.get_mut(at) {
            let Poll::Ready(ended) = one.tunnel.as_mut().poll(cx) else {
                at += 1;
                continue;
            };
            let over = running.remove(at);
            self.end(over.visit, ended.outcome);
            if let Some(idle) = ended.idle {
                self.lock().idle = Some((over.key, idle));
            }
        }
        let mut state = self.lock();
        running.append(&mut state.running);
        state.running = running;
        if let Some((_, idle)) = &mut state.idle
            && idle.poll_useless(cx).is_ready()
        {
            state.idle = None;
        }
        match state.running.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Runs them beside `work`.
    async fn beside<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            let _none_left = self.poll(cx);
            polled
        })
        .await
    }
}

/// The time that a client has to take the rest of an answer once the tunnel is gone
/// that it came by: before that, the relay's clocks count.
struct Rest {
    idle: Duration,
    progress: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Rest {
    fn new(idle: Duration) -> Self {
        Self {
            idle,
            progress: 0,
            timer: None,
        }
    }

    /// Ready if the client takes nothing.
    fn poll(&mut self, desk: &Desk, cx: &mut Context<'_>) -> Poll<()> {
        let progress = desk.lock().progress();
        if progress != Some(self.progress) {
            self.timer = None;
        }
        let Some(progress) = progress else {
            return Poll::Pending;
        };
        self.progress = progress;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.idle)));
        timer.as_mut().poll(cx)
    }
}

/// Serves a client's requests for as long as its connection stands.
async fn serve<Io, S>(this: HttpForward<S>, accepted: Accepted<Io>) -> Result<Transfer, Error>
where
    Io: Stream,
    S: Stage<Requested<ClientStream<Io>>, Response = Transfer>,
{
    let HttpForward { config, inner } = this.clone();
    let deadline = accepted.deadline(config.http.timeout);
    let Accepted {
        io,
        buffered,
        session,
        ..
    } = accepted;
    let desk = Desk::default();
    let tunnels = Arc::new(Tunnels::default());
    let requests = Requests::new(
        desk.clone(),
        config.http.room.clone(),
        deadline,
        config.http.timeout,
        config.idle,
        config.end.as_ref().map(|end| end()),
    );
    let wire = Wire::new(io, buffered, requests);
    let mut rest = Rest::new(config.idle);
    let client = Client::new(config, session.clone(), inner, &desk, &tunnels);
    let client = Arc::new(client);
    let service = service_fn(move |request| Box::pin(Arc::clone(&client).answer(request)));
    let mut connection = http1::Builder::new()
        .auto_date_header(false)
        .header_read_timeout(None)
        .max_buf_size(MAX_BUFFER)
        .preserve_header_case(true)
        .serve_connection(wire, service);
    let served = poll_fn(|cx| {
        let served = connection.poll_without_shutdown(cx).map(Some);
        match tunnels.poll(cx) {
            Poll::Ready(()) if served.is_pending() => rest.poll(&desk, cx).map(|()| None),
            _ => served,
        }
    })
    .await;
    let parts = connection.into_parts();
    // With the service goes what it keeps: its tunnel ends.
    drop(parts.service);
    let (mut io, rest) = parts.io.into_parts();
    let mut early = parts.read_buf.to_vec();
    early.extend(rest);

    let (wrong, is_connect, has_begun) = {
        let mut desk = desk.lock();
        (desk.wrong.take(), desk.is_connect, desk.has_begun())
    };
    if is_connect {
        let accepted = Accepted {
            buffered: early,
            ..Accepted::new(io, session)
        };
        return connect(this, accepted, &tunnels).await;
    }
    let switched = tunnels.lock().switched.take();
    let state = &tunnels;
    let closing = async move {
        match (wrong, switched) {
            (Some(wrong), _) if !has_begun => {
                dismiss(&mut io, &wrong.answer(&early)).await;
                let visit = state.visit(&session);
                state.end(visit, Err(Error::new(ErrorKind::Protocol, wrong)));
            }
            (_, Some(switched)) if matches!(served, Some(Ok(()))) => {
                if let Ok(origin) = switched.await {
                    switch::join(io, early, origin).await;
                }
            }
            _ => match served {
                Some(Ok(())) => dismiss(&mut io, b"").await,
                None => reset(&io),
                // An answer that was wrong from its beginning.
                Some(Err(error)) if error.is_user() && !has_begun => {
                    let answer = Status::BAD_GATEWAY.answer("", NO_ANSWER);
                    dismiss(&mut io, &answer).await;
                }
                // What an answer lacks must not look like its end.
                Some(Err(error)) => {
                    debug!(%error, "a client's connection broke");
                    reset(&io);
                }
            },
        }
    };
    tunnels.beside(closing).await;
    poll_fn(|cx| tunnels.poll(cx)).await;
    let first = tunnels.lock().first.take();
    // It asked for nothing.
    first.unwrap_or_else(|| Err(Error::client(std::io::ErrorKind::UnexpectedEof.into())))
}

/// Has a connection reset, as soon as it is closed.
pub(super) fn reset<Io: Stream>(io: &Io) {
    if let Some(tcp) = tcp(io) {
        // It fails for one that is broken.
        let _ = tcp.set_zero_linger();
    }
}

/// Serves a CONNECT that comes on a connection that was used before: a session of its
/// own, if there has been one.
async fn connect<Io, S>(
    this: HttpForward<S>,
    mut accepted: Accepted<Io>,
    tunnels: &Tunnels,
) -> Result<Transfer, Error>
where
    Io: Stream,
    S: Stage<Requested<ClientStream<Io>>, Response = Transfer>,
{
    let visit = tunnels.visit(&accepted.session);
    accepted.session = visit.session.clone();
    let outcome = tunnels.beside(this.connect().call(accepted)).await;
    tunnels.end(visit, outcome);
    poll_fn(|cx| tunnels.poll(cx)).await;
    let first = tunnels.lock().first.take();
    first.unwrap_or_else(|| Ok(Transfer::default()))
}

pin_project! {
    /// The future of [`HttpForward`] once its client has asked for a tunnel, or has
    /// asked for all that it wanted.
    #[must_use = "futures do nothing unless polled"]
    pub struct HttpForwardFuture<F> {
        #[pin]
        how: How<F>,
    }
}

pin_project! {
    #[project = HowProjection]
    enum How<F> {
        Tunnel { #[pin] tunnel: F },
        Done { done: Option<Transfer> },
    }
}

impl<F> From<F> for HttpForwardFuture<F> {
    fn from(tunnel: F) -> Self {
        let how = How::Tunnel { tunnel };
        Self { how }
    }
}

impl<F> Future for HttpForwardFuture<F>
where
    F: Future<Output = Result<Transfer, Error>>,
{
    type Output = Result<Transfer, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().how.project() {
            HowProjection::Tunnel { tunnel } => tunnel.poll(cx),
            HowProjection::Done { done } => match done.take() {
                Some(done) => Poll::Ready(Ok(done)),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for HttpForwardFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpForwardFuture(..)")
    }
}
