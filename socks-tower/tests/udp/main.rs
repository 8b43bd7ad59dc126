//! UDP ASSOCIATE on real sockets, with a client spoken by hand and one that we
//! did not write.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, in its helpers too"
)]

mod bounds;
mod fast_socks5_client;
mod intruders;
mod life;
mod moving;
mod policy;
mod relaying;
mod reload;
mod support;
mod through;
