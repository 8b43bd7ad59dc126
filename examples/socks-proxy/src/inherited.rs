//! Sockets that the service manager has opened, and passed: they outlive this program, so
//! that a restart loses no connection.

use std::{error::Error, net::TcpListener, sync::OnceLock};

/// A program has those of its start, and no others.
static PASSED: OnceLock<Vec<Passed>> = OnceLock::new();

struct Passed {
    /// What the socket unit calls it (`FileDescriptorName=`).
    name: String,
    listener: TcpListener,
}

/// Takes them. It changes the environment: before there is a second thread.
#[cfg(unix)]
pub fn take() -> Result<(), Box<dyn Error>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = listenfd::ListenFd::from_env();
    let mut passed = Vec::new();
    for number in 0..sockets.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let taken = sockets.take_tcp_listener(number);
        let taken = taken.map_err(|error| format!("socket {name:?} that was passed: {error}"))?;
        passed.extend(taken.map(|listener| Passed { name, listener }));
    }
    let _ = PASSED.set(passed);
    Ok(())
}

/// Nobody passes any.
#[cfg(not(unix))]
pub fn take() -> Result<(), Box<dyn Error>> {
    Ok(())
}

/// Those of that name, or all.
pub fn called(name: Option<&str>) -> impl Iterator<Item = &'static TcpListener> {
    let passed = PASSED.get().into_iter().flatten();
    let called = passed.filter(move |it| name.is_none_or(|name| name == it.name));
    called.map(|it| &it.listener)
}
