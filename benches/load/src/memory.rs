//! What a proxy holds.

use std::fs;

use crate::proxy::Proxy;

/// Of all its processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Bytes of user space, each shared page in part.
    pub(crate) pss: f64,
    pub(crate) descriptors: f64,
}

pub(crate) fn held(proxy: &Proxy) -> Held {
    let mut held = Held::default();
    for pid in proxy.pids() {
        held.pss += pss(pid).unwrap_or_default();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        held.descriptors += descriptors.map_or(0.0, |it| it.count() as f64);
    }
    held
}

fn pss(pid: i32) -> Option<f64> {
    let sums = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = sums.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024.0)
}
