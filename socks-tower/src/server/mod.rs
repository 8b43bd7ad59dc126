//! Accepts connections and runs a stack on each.
//!
//! [`Server`] runs on the Tokio runtime around it, and takes any [`Listener`].
//! [`ThreadedServer`] has a runtime of its own on each of several threads.
//! Both stop when told to, let sessions end within a grace period, and cut what
//! is left.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! use socks_tower::{Server, Socks};
//! use tower::ServiceBuilder;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // Permits are taken before a connection is accepted and held until its
//! // session ends: the 1,001st client waits in the system's queue.
//! let proxy = ServiceBuilder::new().concurrency_limit(1000).service(Socks::new());
//!
//! Server::bind("127.0.0.1:1080")
//!     .await?
//!     .with_shutdown(async { let _ = tokio::signal::ctrl_c().await; })
//!     .with_grace(Duration::from_secs(30))
//!     .serve(proxy)
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # When descriptors run out
//!
//! A session needs two, and more while it carries bulk. A server that has none
//! left waits, longer each time up to a second, and goes on when there are some
//! again. Better is a limit outermost in the stack, as above.

mod access;
mod deal;
mod listener;
mod retry;
mod serve;
mod task;
mod tcp;
mod threads;

pub use listener::Listener;
pub(crate) use retry::Retry;
pub use serve::{Proxy, ServeError, Server};
pub use tcp::TcpAcceptor;
pub(crate) use tcp::open;
pub use threads::ThreadedServer;
