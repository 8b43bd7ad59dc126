//! Metrics, by the facade of the crate [metrics](https://docs.rs/metrics).
//!
//! It comes with the feature `metrics`.
//!
//! [`MetricsLayer`] counts. Where the numbers go, to Prometheus, StatsD or a
//! terminal, is the business of the recorder that the program installs.
//!
//! # Example
//!
//! ```
//! use socks_tower::{Socks, middleware::MetricsLayer};
//! use tower::ServiceBuilder;
//!
//! // First the recorder: PrometheusBuilder::new().install()?, say. A layer
//! // that is made before it counts for nobody.
//! let proxy = ServiceBuilder::new()
//!     .layer(MetricsLayer::new())
//!     .service(Socks::new());
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! # What is counted
//!
//! | name | type | unit | labels | what |
//! |---|---|---|---|---|
//! | `socks_sessions_total` | counter | | `version`, `command`, `outcome` | sessions that have ended |
//! | `socks_live_sessions` | gauge | | | sessions that live |
//! | `socks_tunnels_total` | counter | | `end` | tunnels and UDP associations that have ended |
//! | `socks_live_tunnels` | gauge | | | tunnels and UDP associations that live |
//! | `socks_refusals_total` | counter | | `reason` | sessions that ended before they had a tunnel or an association |
//! | `socks_bytes_total` | counter | bytes | `direction` | payload, as it goes |
//! | `socks_stage_duration_seconds` | histogram | seconds | `stage`, `result` | how long stages took |
//! | `socks_datagrams_total` | counter | | `direction` | datagrams that associations carry, as they go |
//! | `socks_datagrams_dropped_total` | counter | | `reason` | datagrams that associations drop, as they do |
//!
//! | label | values |
//! |---|---|
//! | `version` | `4`, `4a`, `5`; `http`; `other`; `none` if that was never known |
//! | `command` | `connect`, `bind`, `udp_associate`, `resolve`, `resolve_ptr`, `other`; `none` |
//! | `outcome` | `done`, `failed`, `cut` (the shutdown, or a layer further out), `panicked` |
//! | `end` | [`End::as_str`](crate::End::as_str), or as `reason` |
//! | `reason` of a refusal | [`ErrorKind::as_str`](crate::ErrorKind::as_str), `cut`, `panicked` |
//! | `reason` of a datagram | [`DropReason::as_str`](crate::session::DropReason::as_str) |
//! | `direction` | `up` from the client, `down` to it |
//! | `stage` | [`StageKind::as_str`](crate::session::watch::StageKind::as_str) |
//! | `result` | `done`, `failed` |
//!
//! No label has a value that a client chooses: there are at most 168 series of
//! `socks_sessions_total`, and some 70 others. Those by `outcome`, `end` or the
//! `reason` of a refusal are there once they have something to count, the others
//! from the start.
//!
//! A refusal is any end before there was a tunnel. A look-up (RESOLVE) ends well
//! without one, and is in `socks_sessions_total` alone.
//!
//! # Where it stands
//!
//! Outermost: it is an [`ObserveLayer`](crate::middleware::observe::ObserveLayer) with an observer
//! that counts. Make it once and clone it, or make several: they add up. Clients
//! hear nothing of it.
//!
//! # What it costs
//!
//! What an [`ObserveLayer`](crate::middleware::observe::ObserveLayer) does. Each series is looked up in
//! the recorder once; from then on it is, with most recorders, an atomic number.
//! When a session ends, two locks are held for the time of a look into a small
//! table.

mod layer;
mod numbers;

pub use layer::MetricsLayer;
