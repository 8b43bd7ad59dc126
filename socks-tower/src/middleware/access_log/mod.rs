//! An access log: a line for each session, when it ends.
//!
//! It comes with the feature `access-log`.
//!
//! [`AccessLogLayer`] hands each line to a sink, in one of two forms:
//! [`ThreeProxy`], which tools that read 3proxy's log understand, and [`Json`].
//! Both print a [`Summary`](crate::session::watch::Summary), so that an
//! [`Observer`](crate::session::watch::Observer) of your own can use them too.
//!
//! # Example
//!
//! ```no_run
//! use std::{fs::File, io::Write};
//!
//! use socks_tower::{Socks, middleware::AccessLogLayer};
//! use tower::ServiceBuilder;
//!
//! # fn main() -> std::io::Result<()> {
//! let mut file = File::options().create(true).append(true).open("access.log")?;
//! let access_log = AccessLogLayer::json(move |line| {
//!     let _ = file.write_all(line.as_bytes());
//! });
//! let proxy = ServiceBuilder::new().layer(access_log).service(Socks::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # Ok(())
//! # }
//! ```
//!
//! # No session waits for it
//!
//! The sink is called on a thread of its own, so it may write to a disk, or to a
//! pipe that nobody reads. 4,096 lines may wait for it; what finds that many is
//! dropped, better a gap than a proxy that stands. Dropped lines are counted
//! ([`AccessLogLayer::dropped_lines`]), and a warning says how many, once the
//! sink takes lines again, and no more than every ten seconds.
//!
//! When the layer, and all services made of it, are dropped, which is as
//! [`Server::serve`](crate::Server::serve) returns, that waits until the lines are
//! written: for a second at most, as the sink may be stuck.
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
//! a line nor a field; in JSON, strings are escaped once, as JSON has it.
//!
//! # What it costs
//!
//! What an [`ObserveLayer`](crate::middleware::observe::ObserveLayer) does, and a string of some 100
//! bytes in 3proxy's form, or 500 in JSON, when a session ends; and to wake the
//! thread, 200 times a second at most: lines that come closer together are written
//! together, 5 ms later.

mod json;
mod layer;
mod queue;
mod three_proxy;

pub use json::Json;
pub use layer::AccessLogLayer;
pub use three_proxy::ThreeProxy;
