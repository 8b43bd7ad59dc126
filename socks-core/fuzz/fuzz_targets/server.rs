//! The server's machine against any peer.
#![no_main]

#[path = "../../tests/protocol/properties/feed.rs"]
mod feed;
#[path = "../../tests/protocol/properties/server.rs"]
mod server;

libfuzzer_sys::fuzz_target!(|input: &[u8]| server::check(input));
