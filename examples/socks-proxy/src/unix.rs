//! Unix sockets to listen on.

use std::{fs, io, os::unix::net::UnixStream, path::PathBuf, time::Duration};

use futures_util::future::try_join_all;
use socks_tower::{BoxStream, Proxy, ServeError, Server};
use tokio::net::UnixListener;

use crate::{config::Config, listen, serve::Serving, shutdown::Shutdown};

pub struct Listeners(Vec<(PathBuf, UnixListener)>);

impl Listeners {
    /// Listens. What is there and nobody listens on is in the way.
    pub fn bind(config: &Config) -> io::Result<Self> {
        let mut all = Vec::new();
        for path in listen::unix(config) {
            let told = |error: io::Error| {
                let path = path.display();
                io::Error::new(
                    error.kind(),
                    format!("cannot listen on unix:{path}: {error}"),
                )
            };
            let stale = UnixStream::connect(path);
            if stale.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                fs::remove_file(path).map_err(told)?;
            }
            all.push((path.clone(), UnixListener::bind(path).map_err(told)?));
        }
        Ok(Self(all))
    }

    /// As the operator says them.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|(path, _)| format!("unix:{}", path.display()))
    }

    /// Serves, with a server for each, on the runtime that this is called on.
    pub async fn serve<S>(
        self,
        proxy: &Serving<S>,
        shutdown: &Shutdown,
        unready: Duration,
        grace: Duration,
    ) -> Result<(), ServeError>
    where
        S: Proxy<BoxStream> + Clone + Send + 'static,
    {
        let servers = self.0.into_iter().map(|(path, listener)| {
            let server = Server::new(listener)
                .with_shutdown(shutdown.first(unready))
                .with_cut(shutdown.second())
                .with_grace(grace);
            let serving = server.serve(proxy.for_streams());
            async move {
                let served = serving.await;
                // So that nobody tries it in vain.
                let _ = fs::remove_file(path);
                served
            }
        });
        try_join_all(servers).await.map(drop)
    }
}
