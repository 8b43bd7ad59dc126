//! Serves until it is told to stop, on either kind of runtime.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroUsize,
};

use socks_tower::{Proxy, ServeError, Server, TcpAcceptor, ThreadedServer};
use tokio::{net::TcpStream, runtime};

use crate::{args::Args, shutdown};

/// A runtime and listeners for each thread. `proxy` is told where it listens.
pub fn per_thread<S>(
    args: &Args,
    threads: NonZeroUsize,
    proxy: impl FnOnce(&[SocketAddr]) -> S,
) -> Result<(), Box<dyn Error>>
where
    S: Proxy<TcpStream> + Clone + Send + 'static,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = ThreadedServer::bind(&args.listen(), threads)?;
        // Before anybody is told to come.
        let server = server.with_keepalive(args.keepalive());
        let proxy = proxy(server.local_addrs());
        let shutdown = shutdown::signals()?;
        announce(server.local_addrs());
        let server = server
            .with_shutdown(shutdown.first())
            .with_cut(shutdown.second())
            .with_grace(args.grace());
        Ok(server.serve(proxy).await?)
    })
}

/// One runtime for all threads: sessions move to where there is time for them.
pub fn shared<S>(
    args: &Args,
    threads: NonZeroUsize,
    proxy: impl FnOnce(&[SocketAddr]) -> S,
) -> Result<(), Box<dyn Error>>
where
    S: Proxy<TcpStream> + Send + 'static,
{
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(threads.get())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut listeners = Vec::new();
        for addr in args.listen() {
            listeners.push(TcpAcceptor::listen(addr)?.with_keepalive(args.keepalive()));
        }
        let addrs: Vec<_> = listeners.iter().map(|it| it.local_addr()).collect();
        let proxy = proxy(&addrs);
        let shutdown = shutdown::signals()?;
        announce(&addrs);
        let server = Server::new(listeners)
            .with_shutdown(shutdown.first())
            .with_cut(shutdown.second())
            .with_grace(args.grace());
        // A task of its own: waking the main one would cost a system call.
        let serving = tokio::spawn(server.serve(proxy));
        let served = serving.await;
        Ok(served.map_err(|panic| ServeError::Stack(panic.into()))??)
    })
}

/// The one line on standard output: for people, and for programs that want the
/// port.
fn announce(addrs: &[SocketAddr]) {
    let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    // A reader that has gone is no reason not to serve.
    let _ = writeln!(io::stdout(), "listening on {}", addrs.join(", "));
}
