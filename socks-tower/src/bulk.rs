//! A word between the relays of a thread and whoever runs that thread.

use std::{cell::Cell, thread};

thread_local! {
    static MOVED: Cell<bool> = const { Cell::new(false) };
}

/// A relay has moved bulk on this thread: a large splice, or several datagrams.
pub(crate) fn moved() {
    // A thread that is being torn down has no more to wait for.
    let _ = MOVED.try_with(|moved| moved.set(true));
}

/// Called before a thread waits for more to do. If it has moved bulk, whoever
/// else can run on its core goes first, so that there is more to be moved when
/// it looks: of what many fast tunnels carry, two threads on two cores would
/// else wake for each piece, and waking is what costs.
///
/// Where nobody waits for the core, that is one system call for some hundred
/// KiB, or for several datagrams.
pub(crate) fn before_waiting() {
    let moved = MOVED.try_with(|moved| moved.replace(false));
    if moved.is_ok_and(|moved| moved) {
        thread::yield_now();
    }
}
