//! A proxy under attack, in a process of its own: so its descriptors, memory,
//! CPU time and panics can be counted from outside.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

mod child;
mod client;
mod exhaustion;
mod flood;
mod garbage;
mod memory;
mod process;
mod strangers;
mod vanishing;
