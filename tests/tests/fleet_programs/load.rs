//! Clients of a fleet.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use socks_tests::{
    client::{Login, Refused, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// Asks for a tunnel.
pub(crate) async fn connect(
    proxy: SocketAddr,
    login: Login<'_>,
    target: SocketAddr,
) -> Result<TcpStream, Refused> {
    let connecting = socks5(proxy, Some(login), target);
    patiently("a tunnel or a refusal", connecting).await
}

/// 200 connections a second, of twenty users in turn, each of which carries a few bytes to an
/// echo and back.
pub(crate) struct Load {
    done: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

/// So many users the load has: `u0`, `u1`, …
pub(crate) const USERS: usize = 20;

impl Load {
    pub(crate) fn start(proxy: SocketAddr, echo: SocketAddr) -> Self {
        let (done, failed) = (Arc::default(), Arc::default());
        let counts: (Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) =
            (Arc::clone(&done), Arc::clone(&failed));
        let task = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(5));
            // What a busy machine delays is made up for.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let started = Instant::now();
            for number in 0.. {
                ticks.tick().await;
                let (done, failed) = counts.clone();
                tokio::spawn(async move {
                    let user = format!("u{}", number % USERS);
                    match session(proxy, &user, echo).await {
                        Ok(()) => drop(done.fetch_add(1, SeqCst)),
                        Err(why) => {
                            let at = started.elapsed().as_millis();
                            failed.lock().unwrap().push(format!("{at} ms: {why}"));
                        }
                    }
                });
            }
        });
        Self {
            done,
            failed,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// How many were served and how many not, from the last time that this was asked on.
    pub(crate) fn take(&self) -> (usize, Vec<String>) {
        let failed = std::mem::take(&mut *self.failed.lock().unwrap());
        (self.done.swap(0, SeqCst), failed)
    }
}

async fn session(proxy: SocketAddr, user: &str, echo: SocketAddr) -> Result<(), String> {
    let session = async {
        let mut tunnel = socks5(proxy, Some((user, "pw")), echo)
            .await
            .map_err(|refused| format!("{refused:?}"))?;
        let carried = async {
            tunnel.write_all(user.as_bytes()).await?;
            let mut back = [0; 3];
            tunnel.read_exact(&mut back[..user.len()]).await?;
            tunnel.shutdown().await?;
            tunnel.read(&mut back).await
        };
        carried.await.map(drop).map_err(|error| error.to_string())
    };
    let within = timeout(Duration::from_secs(10), session).await;
    within.unwrap_or_else(|_| Err("silence".to_owned()))
}

/// An origin that knows how many tunnels lead to it, and led at most. It says a byte, and
/// ends when its client does.
pub(crate) struct Counting {
    pub(crate) origin: Origin,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Counting {
    pub(crate) async fn start() -> Self {
        let (now, most) = (Arc::default(), Arc::default());
        let (n, m): (Arc<AtomicUsize>, Arc<AtomicUsize>) = (Arc::clone(&now), Arc::clone(&most));
        let origin = Origin::serve(V4, move |mut stream| {
            let now = Arc::clone(&n);
            m.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            async move {
                let _ = stream.write_all(b"!").await;
                let _ = stream.read(&mut [0]).await;
                // Its node has a place free when it has heard of the end: later.
                now.fetch_sub(1, SeqCst);
                drop(stream);
            }
        });
        Self {
            origin: origin.await,
            now,
            most,
        }
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(SeqCst)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}
