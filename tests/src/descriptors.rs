//! How many descriptors a process holds, to find those that leak.

use std::{fs, time::Duration};

use tokio::time::{Instant, sleep};

use crate::PATIENCE;

/// How many descriptors this process holds.
#[must_use]
pub fn own() -> usize {
    count("self")
}

/// How many descriptors the process `pid` holds.
#[must_use]
pub fn of(pid: u32) -> usize {
    count(&pid.to_string())
}

/// Waits until the process `pid` holds `expected` descriptors. A connection's
/// are closed a moment after its peer hears of the end.
pub async fn settle(pid: u32, expected: usize) {
    let deadline = Instant::now() + PATIENCE;
    while of(pid) != expected {
        let held = of(pid);
        assert!(
            Instant::now() < deadline,
            "{held} descriptors, not {expected}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

fn count(process: &str) -> usize {
    let path = format!("/proc/{process}/fd");
    fs::read_dir(&path).expect(&path).count()
}
