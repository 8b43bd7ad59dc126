//! Serves until it is told to stop, on either kind of runtime.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    thread::available_parallelism,
};

use socks_tower::{Proxy, ServeError, Server, TcpAcceptor, ThreadedServer};
use tokio::{net::TcpStream, runtime};
use tower::ServiceBuilder;

use crate::{
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
    shutdown,
    stack::{keepalive, stack},
};

/// All that is there before anything is served.
pub struct Start {
    pub cli: Arc<Cli>,
    pub config: Config,
    pub parts: Parts,
    pub kept: Kept,
    pub log: Arc<Log>,
}

pub fn serve(start: Start) -> Result<(), Box<dyn Error>> {
    let config = &start.config;
    listen::check_passed(config)?;
    let max_connections = match config.max_connections {
        // More than a semaphore can count is no limit.
        Some(max) => max.get().min(tokio::sync::Semaphore::MAX_PERMITS),
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
        let shutdown = shutdown::signals()?;
        let server = server
            .with_shutdown(shutdown.first(start.config.unready_time.duration()))
            .with_cut(shutdown.second())
            .with_grace(start.config.grace.duration());
        let proxy = start.reloadable(addrs.clone(), max_connections)?;
        announce(&addrs);
        Ok(server.serve(proxy).await?)
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
        let shutdown = shutdown::signals()?;
        let server = Server::new(listeners)
            .with_shutdown(shutdown.first(start.config.unready_time.duration()))
            .with_cut(shutdown.second())
            .with_grace(start.config.grace.duration());
        let proxy = start.reloadable(addrs.clone(), max_connections)?;
        announce(&addrs);
        // A task of its own: waking the main one would cost a system call.
        let serving = tokio::spawn(server.serve(proxy));
        let served = serving.await;
        Ok(served.map_err(|panic| ServeError::Stack(panic.into()))??)
    })
}

impl Start {
    /// The proxy, which is another one after each reload.
    fn reloadable(
        self,
        addrs: Vec<SocketAddr>,
        max_connections: usize,
    ) -> io::Result<impl Proxy<TcpStream> + Clone + Send> {
        let build = move |config: &Config, parts| stack(config, parts, &addrs);
        let live = Live::new(build(&self.config, self.parts));
        let reload = Reload {
            cli: self.cli,
            started: self.config,
            kept: self.kept,
            log: self.log,
            live: live.clone(),
        };
        reload.spawn(build)?;
        let beats = manager::watchdog().map(|patience| {
            let beats = Beats::new(patience / 8);
            tokio::spawn(manager::alive(beats.clone(), patience));
            beats
        });
        let stack = ServiceBuilder::new()
            // Taken before accept, held until the session ends.
            .concurrency_limit(max_connections)
            .service(live);
        Ok(Beating::new(stack, beats))
    }
}

/// The one line on standard output: for people, and for programs that want the
/// port.
fn announce(addrs: &[SocketAddr]) {
    let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    // A reader that has gone is no reason not to serve.
    let _ = writeln!(io::stdout(), "listening on {}", addrs.join(", "));
    manager::ready();
}
