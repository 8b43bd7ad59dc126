//! Serves until it is told to stop, on either kind of runtime.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use socks_tower::{BoxStream, Proxy, ServeError, Server, Stream, TcpAcceptor, ThreadedServer};
use tokio::{
    runtime,
    sync::{Semaphore, watch},
};
use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer};

use crate::{
    admin::{Admin, Watch},
    agent::Agent,
    beats::{Beating, Beats},
    config::{Cli, Config, Runtime},
    descriptors,
    kept::Kept,
    listen,
    live::Live,
    log::Log,
    manager,
    parts::Parts,
    reload::Reload,
    shared::Link,
    shutdown::{self, Ending, Shutdown},
    stack::{boxed, keepalive, stack},
    summary,
    unix::Listeners,
};

/// All that is there before anything is served.
pub struct Start {
    pub cli: Arc<Cli>,
    pub config: Config,
    pub parts: Parts,
    pub kept: Kept,
    pub admin: Option<Admin>,
    pub agent: Option<Agent>,
    pub log: Arc<Log>,
}

pub fn serve(start: Start) -> Result<(), Box<dyn Error>> {
    let config = &start.config;
    listen::check_passed(config)?;
    summary::tell(config);
    let max_connections = match config.max_connections {
        // More than a semaphore can count is no limit.
        Some(max) => max.get().min(Semaphore::MAX_PERMITS),
        None => descriptors::max_connections(config.dns.len()),
    };
    let threads = threads(config, max_connections);
    match config.runtime {
        Runtime::PerThread => per_thread(start, threads, max_connections),
        Runtime::Shared => shared(start, threads, max_connections),
    }
}

/// As many threads as told, or as there are cores; fewer if there are hardly more
/// connections, since each thread holds a permit in reserve.
fn threads(config: &Config, max_connections: usize) -> NonZeroUsize {
    const CONNECTIONS_PER_THREAD: usize = 16;

    let cores = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = config.threads.unwrap_or_else(cores);
    let useful = NonZeroUsize::new(max_connections / CONNECTIONS_PER_THREAD);
    threads.min(useful.unwrap_or(NonZeroUsize::MIN))
}

/// By how much threads for bulk are nicer: small answers go first.
const BULK_NICENESS: u8 = 5;

/// A runtime and listeners for each thread.
fn per_thread(
    start: Start,
    threads: NonZeroUsize,
    max_connections: usize,
) -> Result<(), Box<dyn Error>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = ThreadedServer::bind(&listen::addrs(&start.config), threads)?;
        // Before anybody is told to come.
        let mut server = server.with_keepalive(keepalive(&start.config));
        for listener in listen::passed(&start.config) {
            server = server.with_listener(listener.try_clone()?)?;
        }
        let addrs = server.local_addrs().to_vec();
        let (unready, grace) = times(&start.config);
        let link = Link::default();
        let unix = Listeners::bind(&start.config)?;
        let shutdown = shutdown::signals()?;
        let server = server
            .with_shutdown(shutdown.first(unready))
            .with_cut(shutdown.second())
            .with_grace(grace)
            .with_bulk_niceness(BULK_NICENESS);
        let proxy = start.reloadable(addrs.clone(), max_connections, &shutdown, link.clone())?;
        announce(&addrs, &unix);
        let on_unix = unix.serve(&proxy, &shutdown, unready, grace);
        let served = tokio::try_join!(server.serve(proxy.for_streams()), on_unix);
        link.close().await;
        served?;
        Ok(())
    })
}

/// One runtime for all threads: sessions move to where there is time for them.
fn shared(
    start: Start,
    threads: NonZeroUsize,
    max_connections: usize,
) -> Result<(), Box<dyn Error>> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(threads.get())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut listeners = Vec::new();
        for addr in listen::addrs(&start.config) {
            listeners.push(TcpAcceptor::listen(addr)?);
        }
        for listener in listen::passed(&start.config) {
            listeners.push(TcpAcceptor::from_std(listener.try_clone()?)?);
        }
        let keepalive = keepalive(&start.config);
        let listeners: Vec<_> = listeners
            .into_iter()
            .map(|it| it.with_keepalive(keepalive))
            .collect();
        let addrs: Vec<_> = listeners.iter().map(|it| it.local_addr()).collect();
        let (unready, grace) = times(&start.config);
        let link = Link::default();
        let unix = Listeners::bind(&start.config)?;
        let shutdown = shutdown::signals()?;
        let server = Server::new(listeners)
            .with_shutdown(shutdown.first(unready))
            .with_cut(shutdown.second())
            .with_grace(grace);
        let proxy = start.reloadable(addrs.clone(), max_connections, &shutdown, link.clone())?;
        announce(&addrs, &unix);
        let on_unix = unix.serve(&proxy, &shutdown, unready, grace);
        // A task of its own: waking the main one would cost a system call.
        let serving = tokio::spawn(server.serve(proxy.for_streams()));
        let serving = async {
            let served = serving.await;
            served.unwrap_or_else(|panic| Err(ServeError::Stack(panic.into())))
        };
        let served = tokio::try_join!(serving, on_unix);
        link.close().await;
        served?;
        Ok(())
    })
}

impl Start {
    /// The proxy, which is another one after each reload.
    fn reloadable(
        self,
        addrs: Vec<SocketAddr>,
        max_connections: usize,
        shutdown: &Shutdown,
        link: Link,
    ) -> io::Result<Serving<impl Proxy<BoxStream> + Clone + Send + use<>>> {
        let watch = self.admin.as_ref().map(|admin| admin.watch.clone());
        if let Some(admin) = self.admin {
            admin.spawn(shutdown.readiness(), link.clone())?;
        }
        if let Some(agent) = self.agent {
            agent.spawn(shutdown.readiness())?;
        }
        let (replaced, replacing) = watch::channel(0);
        let ending = Ending::new(shutdown, replacing, self.config.unready_time.duration());
        let build = move |config: &Config, parts: Parts| {
            link.set(parts.shared.as_ref(), watch.as_ref().map(Watch::sessions));
            stack(config, parts, &addrs, watch.as_ref(), ending.of_newest())
        };
        let live = Live::new(build(&self.config, self.parts));
        let reload = Reload {
            cli: self.cli,
            started: self.config,
            kept: self.kept,
            log: self.log,
            live: live.clone(),
            replaced,
        };
        reload.spawn(build)?;
        let beats = manager::watchdog().map(|patience| {
            let beats = Beats::new(patience / 8);
            tokio::spawn(manager::alive(beats.clone(), patience));
            beats
        });
        Ok(Serving {
            max_connections: Arc::new(Semaphore::new(max_connections)),
            beats,
            stack: live,
        })
    }
}

/// How long it is unready before it takes no more clients, and how long tunnels have then.
fn times(config: &Config) -> (Duration, Duration) {
    (config.unready_time.duration(), config.grace.duration())
}

/// One stack for listeners of all kinds, which share the limit.
pub struct Serving<S> {
    max_connections: Arc<Semaphore>,
    beats: Option<Beats>,
    stack: S,
}

impl<S: Proxy<BoxStream> + Clone + Send> Serving<S> {
    pub fn for_streams<Io: Stream>(&self) -> impl Proxy<Io> + Clone + Send + use<S, Io> {
        let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&self.max_connections));
        let stack = ServiceBuilder::new()
            // Taken before accept, held until the session ends.
            .layer(limit)
            .map_request(boxed::<Io>)
            .service(self.stack.clone());
        Beating::new(stack, self.beats.clone())
    }
}

/// The one line on standard output: for people, and for programs that want the
/// port.
fn announce(addrs: &[SocketAddr], unix: &Listeners) {
    let tcp = addrs.iter().map(ToString::to_string);
    let all: Vec<_> = tcp.chain(unix.names()).collect();
    // A reader that has gone is no reason not to serve.
    let _ = writeln!(io::stdout(), "listening on {}", all.join(", "));
    manager::ready();
}
