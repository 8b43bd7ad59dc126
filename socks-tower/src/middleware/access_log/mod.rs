//! An access log: a line for each session, when it ends.
//!
//! [`AccessLogLayer`] hands each line to a sink, in one of two forms:
//! [`ThreeProxy`], which tools that read 3proxy's log understand, and [`Json`].
//! Both print a [`Summary`](crate::session::watch::Summary), so that an
//! [`Observer`](crate::session::watch::Observer) of your own can use them too.
//!
//! # Example
//!
//! The sink runs in the session's task, and must not wait for a disk. Here
//! lines go over a bounded channel to a thread that may:
//!
//! ```
//! use std::{io::Write, sync::mpsc::sync_channel, thread};
//!
//! use socks_tower::{Socks, middleware::AccessLogLayer};
//! use tower::ServiceBuilder;
//!
//! let (lines, written) = sync_channel::<String>(4096);
//! thread::spawn(move || {
//!     let mut log = std::io::stdout();
//!     for line in written {
//!         let _ = log.write_all(line.as_bytes());
//!     }
//! });
//! let proxy = ServiceBuilder::new()
//!     // What finds the channel full is lost: better a gap than a proxy that stands.
//!     .layer(AccessLogLayer::json(move |line| drop(lines.try_send(line.to_owned()))))
//!     .service(Socks::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! `examples/access-log` writes to a file, by way of `tracing-appender`, which
//! counts what it drops, and flushes at the end.
//!
//! # Where it stands
//!
//! Outermost: it is an [`ObserveLayer`](crate::middleware::observe::ObserveLayer) with an observer
//! that writes. Every connection that comes to it makes one line, whatever
//! becomes of it. Clients hear nothing of it.
//!
//! # Nobody forges a line
//!
//! Names, user ids, targets and errors come from clients. In 3proxy's form,
//! blanks and whatever does not print are escaped, so a name can begin neither
//! a line nor a field; in JSON, strings are escaped as JSON has it.
//!
//! # What it costs
//!
//! What an [`ObserveLayer`](crate::middleware::observe::ObserveLayer) does, and a string of some 100
//! bytes in 3proxy's form, or 500 in JSON, when a session ends.

mod json;
mod layer;
mod three_proxy;

pub use json::Json;
pub use layer::AccessLogLayer;
pub use three_proxy::ThreeProxy;
