//! A wire between a program and its server, which can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// Listens on 127.0.0.1, and carries what comes to a server.
#[derive(Debug)]
pub struct Wire {
    addr: SocketAddr,
    is_cut: Arc<AtomicBool>,
    carried: Arc<Mutex<JoinSet<()>>>,
    _task: AbortOnDropHandle<()>,
}

impl Wire {
    /// One to `server`.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let is_cut = Arc::<AtomicBool>::default();
        let carried = Arc::<Mutex<JoinSet<()>>>::default();
        let (cut, carries) = (Arc::clone(&is_cut), Arc::clone(&carried));
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut carries = carries.lock().unwrap();
                if !cut.load(Ordering::SeqCst) {
                    carries.spawn(async move {
                        if let Ok(mut far) = TcpStream::connect(server).await {
                            let _ = copy_bidirectional(&mut near, &mut far).await;
                        }
                    });
                }
            }
        });
        Self {
            addr,
            is_cut,
            carried,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes all connections, and each that comes.
    pub fn cut(&self) {
        let mut carried = self.carried.lock().unwrap();
        self.is_cut.store(true, Ordering::SeqCst);
        carried.abort_all();
    }

    /// Carries again what comes.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}
