//! System calls that save others, and that a sandbox or a small kernel refuses.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::errno::Errno;

/// What is done without once it was refused.
pub(super) struct Refusable {
    name: &'static str,
    refused: AtomicBool,
}

impl Refusable {
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            refused: AtomicBool::new(false),
        }
    }

    /// Whether nobody has refused it so far.
    pub(super) fn is_served(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
    }

    /// It is not tried again. Says so, the first time.
    pub(super) fn give_up(&self, error: Errno) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            let error = io::Error::from(error);
            tracing::warn!(call = self.name, %error, "refused, datagrams go one by one");
        }
    }
}

/// What seccomp filters and small kernels say to a call that they do not serve;
/// the system says it of other things as well.
pub(super) fn may_be_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EPERM | Errno::EINVAL)
}
