//! The client's machine against any peer.
#![no_main]

#[path = "../../tests/protocol/properties/client.rs"]
mod client;
#[path = "../../tests/protocol/properties/feed.rs"]
mod feed;

libfuzzer_sys::fuzz_target!(|input: &[u8]| client::check(input));
