use std::{
    fmt,
    future::{Future, pending},
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::TcpStream,
    runtime::{self, Handle},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Proxy, ServeError, Server,
    deal::{Seat, seats},
    serve::Signal,
    tcp::{TcpAcceptor, adopt, bound, cannot_listen, keep_alive},
};
#[cfg(target_os = "linux")]
use crate::session::or_without;
use crate::session::{BulkThreads, Keepalive};

/// A server of several threads, each with a runtime and listeners of its own.
///
/// A session stays on one thread, so nothing wakes another: that costs fewest system
/// calls for a connection. It is the thread that the kernel chose, unless that has clearly
/// more sessions than another, which is handed the connection then.
///
/// A tunnel between two plain sockets that has carried a MiB, and has 64 KiB at a time,
/// moves to one of as many threads more, which carry such bulk and nothing else: the one
/// that has fewest. Whoever waits for a small answer does not wait for bulk then, for the
/// system lets a thread that has slept go before one that never rests.
///
/// In exchange, all else is dealt out by connection, and a thread that got the busy ones
/// keeps them. A [`Server`] on Tokio's multi-thread runtime evens that out.
///
/// ```no_run
/// use socks_tower::{Socks5, ThreadedServer};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let threads = std::thread::available_parallelism()?;
/// let server = ThreadedServer::bind(&["127.0.0.1:1080".parse()?], threads)?;
/// server.serve(Socks5::new()).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a server does nothing until it serves"]
pub struct ThreadedServer {
    /// For each thread, a listener on each address.
    listeners: Vec<Vec<TcpListener>>,
    local_addrs: Vec<SocketAddr>,
    bulk_threads: usize,
    bulk_niceness: u8,
    keepalive: Keepalive,
    shutdown: Option<Signal>,
    cut: Option<Signal>,
    grace: Duration,
}

impl ThreadedServer {
    /// Listens on all of `addrs`, with `threads` listeners on each
    /// (`SO_REUSEPORT`). Where the system does not deal connections out among
    /// listeners, there is one thread; where a small Linux does not know
    /// `SO_REUSEPORT`, the threads share one, which wakes all of them for each
    /// connection, and a warning says so.
    ///
    /// Another program on one of the addresses is an error, although such
    /// listeners could share it with ours: each address is first bound without
    /// sharing, as a probe. In the moment between the two, another program
    /// that shares could still step in.
    ///
    /// # Errors
    ///
    /// As [`TcpAcceptor::listen`](super::TcpAcceptor::listen).
    pub fn bind(addrs: &[SocketAddr], threads: NonZeroUsize) -> io::Result<Self> {
        // Elsewhere SO_REUSEPORT lets listeners share, but does not deal out.
        let threads = if cfg!(target_os = "linux") {
            threads.get()
        } else {
            1
        };
        let mut listeners: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
        let mut local_addrs = Vec::with_capacity(addrs.len());
        for &addr in addrs {
            let of_threads = bound(addr, false, Keepalive::default())
                .and_then(|probe| {
                    local_addrs.push(probe.local_addr()?);
                    for_each(threads, probe)
                })
                .map_err(|error| cannot_listen(addr, &error))?;
            for (all, one) in listeners.iter_mut().zip(of_threads) {
                all.push(one);
            }
        }
        Ok(Self {
            listeners,
            local_addrs,
            // Nobody has tried whether a socket of Windows can change its runtime.
            bulk_threads: if cfg!(unix) { threads } else { 0 },
            bulk_niceness: 0,
            keepalive: Keepalive::default(),
            shutdown: None,
            cut: None,
            grace: Server::<TcpAcceptor>::DEFAULT_GRACE,
        })
    }

    /// Takes over a socket that listens already, one that a service manager passed
    /// for example. Its connections outlive this server: whoever has the socket, too,
    /// goes on with those that nobody has accepted yet.
    ///
    /// The threads share it, which wakes all of them for each connection.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, `fcntl(2)` and `getsockname(2)`.
    pub fn with_listener(mut self, listener: TcpListener) -> io::Result<Self> {
        adopt(&listener, self.keepalive)?;
        self.local_addrs.push(listener.local_addr()?);
        for of_thread in &mut self.listeners {
            of_thread.push(listener.try_clone()?);
        }
        Ok(self)
    }

    /// The addresses that it listens on: the real ports, where 0 was asked for.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// As [`TcpAcceptor::with_keepalive`].
    pub fn with_keepalive(mut self, keepalive: Keepalive) -> Self {
        for of_thread in &self.listeners {
            for (listener, &addr) in of_thread.iter().zip(&self.local_addrs) {
                keep_alive(SockRef::from(listener), addr, keepalive);
            }
        }
        self.keepalive = keepalive;
        self
    }

    /// How many more threads there are for tunnels that carry bulk: on Unix as many as
    /// there are others, unless set. With none, each tunnel stays where it is.
    pub fn with_bulk_threads(mut self, threads: usize) -> Self {
        self.bulk_threads = threads;
        self
    }

    /// How much nicer (`nice(2)`) those threads are than the others, up to 19 in all: 0
    /// unless set, and of no effect but on Linux.
    ///
    /// Where threads compete for the processors, small answers then go first, and whoever
    /// sends and receives the bulk gets further between two of its turns: it is moved in
    /// larger pieces, for less CPU. Other programs go before it too. With 5, which
    /// `socks-proxy` has, the bulk of 64 tunnels took two thirds of the CPU on a machine
    /// that had nothing to spare, and came as fast.
    ///
    /// Under seccomp it needs `setpriority`, which systemd has in `@resources`.
    pub fn with_bulk_niceness(mut self, niceness: u8) -> Self {
        self.bulk_niceness = niceness;
        self
    }

    /// As [`Server::with_shutdown`].
    pub fn with_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(signal));
        self
    }

    /// As [`Server::with_grace`].
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// As [`Server::with_cut`].
    pub fn with_cut(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.cut = Some(Box::pin(signal));
        self
    }

    /// Serves until the shutdown, a clone of `stack` on each thread. Dropping
    /// the future has the threads cut their sessions and end.
    ///
    /// A limit in the stack counts all threads together, since its clones share
    /// their permits. Each thread takes one before it accepts, so as many as
    /// there are threads may be held in reserve: with a limit that is not much
    /// larger than their number, use fewer.
    ///
    /// # Errors
    ///
    /// As [`Server::serve`], of the first thread that fails; and
    /// [`ServeError::Thread`].
    pub async fn serve<S>(self, stack: S) -> Result<(), ServeError>
    where
        S: Proxy<TcpStream> + Clone + Send + 'static,
    {
        let stop = CancellationToken::new();
        let cut = CancellationToken::new();
        // However this ends, also when it is dropped.
        let _cut_at_the_end = cut.clone().drop_guard();
        let (ended, mut endings) = mpsc::channel(1);
        let (bulk_runtimes, while_served) =
            start_bulk(self.bulk_threads, self.bulk_niceness, &ended).await?;
        let seats = seats(self.listeners.len());
        for (number, (listeners, seat)) in self.listeners.into_iter().zip(seats).enumerate() {
            let worker = Worker {
                listeners,
                seat,
                bulk_threads: BulkThreads::new(Arc::clone(&bulk_runtimes), number),
                _while_served: Arc::clone(&while_served),
                keepalive: self.keepalive,
                stop: stop.clone(),
                cut: cut.clone(),
                grace: self.grace,
            };
            let stack = stack.clone();
            let ended = ended.clone();
            thread::Builder::new()
                .name(format!("socks-{number}"))
                .spawn(move || {
                    // Nobody listens any more if another thread failed first.
                    let _ = ended.blocking_send(worker.run(stack));
                })
                .map_err(ServeError::Thread)?;
        }
        drop((ended, while_served));

        let mut shutdown = self.shutdown.unwrap_or_else(|| Box::pin(pending()));
        let mut cutting = self.cut.unwrap_or_else(|| Box::pin(pending()));
        loop {
            tokio::select! {
                () = &mut shutdown, if !stop.is_cancelled() => stop.cancel(),
                () = &mut cutting, if !cut.is_cancelled() => cut.cancel(),
                ending = endings.recv() => match ending {
                    Some(ending) => ending?,
                    None => return Ok(()),
                },
            }
        }
    }
}

/// Starts threads that carry bulk until what is given is dropped. They say so when they
/// have `ended`.
async fn start_bulk(
    threads: usize,
    niceness: u8,
    ended: &mpsc::Sender<Result<(), ServeError>>,
) -> Result<(Arc<[Handle]>, Arc<DropGuard>), ServeError> {
    let stop = CancellationToken::new();
    let while_served = Arc::new(stop.clone().drop_guard());
    let mut runtimes = Vec::with_capacity(threads);
    for number in 0..threads {
        let (tell, told) = oneshot::channel();
        let (stop, ended) = (stop.clone(), ended.clone());
        thread::Builder::new()
            .name(format!("socks-bulk-{number}"))
            .spawn(move || {
                be_nicer(niceness);
                let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = ended.blocking_send(Err(ServeError::Thread(error)));
                        return;
                    }
                };
                if tell.send(runtime.handle().clone()).is_ok() {
                    runtime.block_on(stop.cancelled());
                }
            })
            .map_err(ServeError::Thread)?;
        // One that has no runtime says why.
        runtimes.extend(told.await);
    }
    Ok((runtimes.into(), while_served))
}

/// Makes this thread so much nicer than it is.
fn be_nicer(by: u8) {
    #[cfg(target_os = "linux")]
    if by > 0
        && let Err(error) = rustix::process::nice(by.into())
    {
        tracing::warn!(%error, "a thread for bulk is no nicer than others");
    }
    // Elsewhere processes are nice, and threads are not.
    #[cfg(not(target_os = "linux"))]
    let _ = by;
}

/// A listener for each of so many threads, where `probe` listens.
fn for_each(threads: usize, probe: TcpListener) -> io::Result<Vec<TcpListener>> {
    if threads == 1 {
        return Ok(vec![probe]);
    }
    #[cfg(target_os = "linux")]
    if or_without("SO_REUSEPORT", SockRef::from(&probe).set_reuse_port(true)) {
        let addr = probe.local_addr()?;
        drop(probe);
        let shared = || bound(addr, true, Keepalive::default());
        return (0..threads).map(|_| shared()).collect();
    }
    let mut listeners: Vec<_> = (1..threads)
        .map(|_| probe.try_clone())
        .collect::<Result<_, _>>()?;
    listeners.push(probe);
    Ok(listeners)
}

/// What one thread needs, but for the stack.
struct Worker {
    listeners: Vec<TcpListener>,
    seat: Seat,
    bulk_threads: BulkThreads,
    /// Dropped last: tunnels that have moved are cut by those they belong to.
    _while_served: Arc<DropGuard>,
    keepalive: Keepalive,
    stop: CancellationToken,
    cut: CancellationToken,
    grace: Duration,
}

impl Worker {
    fn run<S>(self, stack: S) -> Result<(), ServeError>
    where
        S: Proxy<TcpStream> + Send + 'static,
    {
        self.bulk_threads.clone().offer();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(ServeError::Thread)?.block_on(async {
            let from_std = |listener| TcpAcceptor::new(listener, self.keepalive);
            let listeners = self.listeners.into_iter().map(from_std);
            let listeners: io::Result<Vec<_>> = listeners.collect();
            let dealer = self.seat.take(listeners.map_err(ServeError::Accept)?);
            let server = Server::new(dealer)
                .with_shutdown(self.stop.cancelled_owned())
                .with_grace(self.grace);
            // A task of its own: to wake the future that a runtime blocks on
            // costs a system call, to wake a task does not.
            let serving = tokio::spawn(server.serve(stack));
            tokio::select! {
                served = serving => served.unwrap_or_else(|panic| Err(ServeError::Stack(panic.into()))),
                () = self.cut.cancelled() => Ok(()),
            }
        })
    }
}

impl fmt::Debug for ThreadedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadedServer")
            .field("local_addrs", &self.local_addrs)
            .field("threads", &self.listeners.len())
            .field("bulk_threads", &self.bulk_threads)
            .field("bulk_niceness", &self.bulk_niceness)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
