use std::{
    fmt,
    future::{Future, pending, poll_fn},
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    net::ToSocketAddrs,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::{Instrument, debug};

use super::{
    Listener, TcpAcceptor,
    access::{self, AccessEvents},
    retry::Retry,
    task::{Cut, CutAtTheEnd, SessionTask},
};
use crate::{
    middleware::observe::ObserveFuture,
    session::{
        Accepted, BoxError, HasSession, Keepalive, Transfer, trace,
        watch::{Observer, Watching},
    },
};

pub(super) type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Accepts connections and runs a stack on each.
///
/// The stack is readied before a connection is accepted: one that is full
/// leaves newcomers in the kernel's queue. It need not be `Clone`, so tower's
/// `RateLimit` works outermost, and a `ConcurrencyLimit` there counts live
/// sessions.
///
/// A panic in the stack ends the session that it is called for, and no other.
///
/// ```no_run
/// use socks_tower::{Server, Socks5};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// Server::bind("127.0.0.1:1080").await?.serve(Socks5::new()).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a server does nothing until it serves"]
pub struct Server<L> {
    listener: L,
    shutdown: Option<Signal>,
    cut: Option<Signal>,
    grace: Duration,
}

/// A whole stack: what a [`Server`] runs on each connection.
///
/// It is a `Service<Accepted<Io>, Response = Transfer>` with its bounds said
/// once, and holds for every service that meets them. It need not be `Clone`.
///
/// Without a `Server`, a session is `stack.oneshot(accepted)`. Spawn that as it is:
/// within an `async` block the compiler finds that an implementation of `From` "is
/// not general enough", if a work fails with a [`BoxError`]. Return it from a function
/// as `impl Proxy<Io, Error = Error> + Clone + Send`, which can be spawned.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a proxy for connections of `{Io}`",
    note = "a proxy is a `Service<Accepted<{Io}>, Response = Transfer>`: HandshakeLayer, AuthenticateLayer, ConnectLayer around Relay",
    note = "its error is `Into<BoxError>`, its future `Send + 'static`"
)]
pub trait Proxy<Io>:
    Service<Accepted<Io>, Response = Transfer, Error: Into<BoxError> + 'static, Future: Send + 'static>
{
}

// Recommended, unlike the other alias traits: then the compiler names the one
// stage that is out of place.
impl<Io, S> Proxy<Io> for S where
    S: Service<
            Accepted<Io>,
            Response = Transfer,
            Error: Into<BoxError> + 'static,
            Future: Send + 'static,
        >
{
}

/// Why a server stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener failed for good.
    #[error("cannot accept connections")]
    Accept(#[source] io::Error),
    /// A thread to serve on could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The stack will never be ready again.
    #[error("the stack failed")]
    Stack(#[source] BoxError),
}

impl Server<TcpAcceptor> {
    /// Listens on the first of `addrs` that can be had, as [`TcpAcceptor::listen`] does.
    ///
    /// # Errors
    ///
    /// As [`TcpAcceptor::listen`]: that of the last address, which it names; or that of the
    /// look-up.
    pub async fn bind(addrs: impl ToSocketAddrs) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for addr in tokio::net::lookup_host(addrs).await? {
            match TcpAcceptor::listen(addr) {
                Ok(listener) => return Ok(Self::new(listener)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address that it listens on: the real port, if 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// As [`TcpAcceptor::with_keepalive`].
    pub fn with_keepalive(mut self, keepalive: Keepalive) -> Self {
        self.listener = self.listener.with_keepalive(keepalive);
        self
    }
}

impl<L: Listener> Server<L> {
    /// How long sessions may go on after the shutdown, unless set: 8 seconds.
    /// `docker stop` and others kill after 10, and what is to be done at the end
    /// takes a moment.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(8);

    /// Serves what `listener` accepts.
    pub fn new(listener: L) -> Self {
        Self {
            listener,
            shutdown: None,
            cut: None,
            grace: Self::DEFAULT_GRACE,
        }
    }

    /// Stops accepting once `signal` resolves, closes the listener, lets
    /// sessions end by themselves within the grace period, and cuts those that
    /// are left. The tunnels of these are reset.
    pub fn with_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(signal));
        self
    }

    /// How long sessions may go on after the shutdown. Let it be less than the
    /// patience of whoever stops the program: 10 seconds of `docker stop`, 30 of
    /// Kubernetes, 90 of systemd.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Cuts all sessions once `signal` resolves, before or after the shutdown.
    ///
    /// Unlike dropping the future of [`serve`](Self::serve), that waits until
    /// all are gone: a program that ends sooner leaves it to the system to close
    /// their tunnels, which looks like an orderly end.
    pub fn with_cut(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.cut = Some(Box::pin(signal));
        self
    }

    /// Serves until the shutdown. Dropping the future closes the listener and
    /// cuts all sessions.
    ///
    /// # Errors
    ///
    /// [`ServeError::Accept`] if the listener is broken;
    /// [`ServeError::Stack`] if the stack's `poll_ready` fails, which says that
    /// it will never serve again. Sessions in progress are then cut.
    pub async fn serve<S>(self, stack: S) -> Result<(), ServeError>
    where
        S: Proxy<L::Io>,
    {
        let Self {
            listener,
            shutdown,
            cut: cutting,
            grace,
        } = self;
        let shutdown = shutdown.unwrap_or_else(|| Box::pin(pending()));
        let mut cutting = cutting.unwrap_or_else(|| Box::pin(pending()));
        let sessions = TaskTracker::new();
        let cut = Arc::new(Cut::default());
        // However this ends, also when it is dropped.
        let _cut_at_the_end = CutAtTheEnd(Arc::clone(&cut));

        let accepting = accept(listener, stack, &sessions, &cut);
        let mut is_over = tokio::select! {
            biased;
            () = &mut cutting => true,
            () = shutdown => false,
            error = accepting => return Err(error),
        };
        sessions.close();
        if !is_over {
            debug!(sessions = sessions.len(), "draining");
            is_over = tokio::select! {
                () = &mut cutting => true,
                drained = timeout(grace, sessions.wait()) => drained.is_err(),
            };
        }
        if is_over {
            debug!(sessions = sessions.len(), "cutting what is left");
            cut.now();
            sessions.wait().await;
        }
        Ok(())
    }
}

/// Accepts for ever; returns why it cannot.
async fn accept<L, S>(
    mut listener: L,
    mut stack: S,
    sessions: &TaskTracker,
    cut: &Arc<Cut>,
) -> ServeError
where
    L: Listener,
    S: Proxy<L::Io>,
{
    let access: Arc<dyn Observer> = Arc::new(AccessEvents::new());
    let mut retry = Retry::default();
    let mut pulse = Pulse::default();
    loop {
        // Boxed at once, so that the future is `Send` whatever the error is.
        let ready = poll_fn(|cx| stack.poll_ready(cx).map_err(Into::into)).await;
        if let Err(error) = ready {
            return ServeError::Stack(error);
        }
        let mut accepted = loop {
            match pulse.beside(listener.accept()).await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    if let Err(error) = retry.after(error).await {
                        return ServeError::Accept(error);
                    }
                }
            }
        };
        retry = Retry::default();
        let span = trace::span(accepted.session());
        // The stack may trace as it is called.
        let entered = span.enter();
        let watching = access::is_wanted().then(|| Watching::begin(&access, &mut accepted));
        // What panics in the session's task ends the session. So does what
        // panics here, already told by the panic hook.
        let call = || Watching::run(watching.as_ref(), || stack.call(accepted));
        let Ok(session) = catch_unwind(AssertUnwindSafe(call)) else {
            continue;
        };
        drop(entered);
        // Its end is told outside of its span, whose fields the event has.
        let session = ObserveFuture::new(session.instrument(span), watching);
        sessions.spawn(SessionTask::new(session, cut));
    }
}

/// A timer that is always due before those of the sessions, while there are new
/// ones.
///
/// When a timer is set that is due before all others, Tokio wakes its driver to
/// tell it: two system calls, for each connection's first deadline. So let
/// there be one that is due sooner. A server that nobody connects to sets none.
#[derive(Default)]
struct Pulse {
    next: Option<Pin<Box<Sleep>>>,
}

impl Pulse {
    /// Sooner than any deadline that a session usually sets.
    const PERIOD: Duration = Duration::from_millis(500);

    async fn beside<T>(&mut self, accept: impl Future<Output = T>) -> T {
        let mut accept = pin!(accept);
        let accepted = poll_fn(|cx| {
            if let Poll::Ready(accepted) = accept.as_mut().poll(cx) {
                return Poll::Ready(accepted);
            }
            let next = self.next.as_mut();
            if next.is_some_and(|next| next.as_mut().poll(cx).is_ready()) {
                // Nobody has come for a whole period.
                self.next = None;
            }
            Poll::Pending
        })
        .await;
        match &mut self.next {
            None => self.next = Some(Box::pin(sleep(Self::PERIOD))),
            // Put off lazily: an earlier instant does no harm.
            Some(next) if next.deadline() < Instant::now() + Self::PERIOD / 2 => {
                next.as_mut().reset(Instant::now() + Self::PERIOD);
            }
            Some(_) => {}
        }
        accepted
    }
}

impl<L: fmt::Debug> fmt::Debug for Server<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grace_is_over_before_docker_kills() {
        const DOCKER_STOP: Duration = Duration::from_secs(10);
        const LAST_LINES: Duration = Duration::from_secs(1);

        assert!(Server::<TcpAcceptor>::DEFAULT_GRACE + LAST_LINES < DOCKER_STOP);
    }
}
