//! Hosts, names and targets out of any bytes.
#![no_main]

#[path = "../../tests/protocol/properties/host.rs"]
mod host;

libfuzzer_sys::fuzz_target!(|input: &[u8]| host::check(input));
