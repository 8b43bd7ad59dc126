//! All decoders on any bytes.
#![no_main]

#[path = "../../tests/protocol/properties/messages.rs"]
mod messages;

libfuzzer_sys::fuzz_target!(|input: &[u8]| messages::check(input));
