//! Proxies of any stack, in the process of the test.

use std::net::SocketAddr;

use socks_tower::{Proxy as Stack, ServeError, Server};
use tokio::{net::TcpStream, sync::oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::patiently;

/// A proxy on a free port of 127.0.0.1. Dropping it cuts its sessions.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: AbortOnDropHandle<Result<(), ServeError>>,
}

impl Proxy {
    /// Serves `stack`.
    pub async fn spawn<S>(stack: S) -> Self
    where
        S: Stack<TcpStream> + Send + 'static,
    {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr();
        let (shutdown, told) = oneshot::channel();
        let server = server.with_shutdown(async {
            // A dropped handle aborts the task before it can hear of this.
            let _ = told.await;
        });
        let task = AbortOnDropHandle::new(tokio::spawn(server.serve(stack)));
        Self {
            addr,
            shutdown,
            task,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Tells it to stop, and waits until it has: see
    /// [`Server::with_shutdown`].
    pub async fn shut_down(self) {
        // It may have stopped by itself; its result says why.
        let _ = self.shutdown.send(());
        let stopped = patiently("the proxy's shutdown", self.task).await;
        stopped.unwrap().unwrap();
    }
}
