//! What the benchmarks of this crate share: a client that is a script in
//! memory, and the stack that they run it through.

mod memory;
pub mod rules;
mod stack;

pub use memory::Memory;
pub use stack::{Client, Works, accepted, negotiated};

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// Polls `future` once: nothing in memory is ever waited for.
///
/// # Panics
///
/// If it is not done by then.
pub fn once<F: Future>(future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a script in memory never waits"),
    }
}
