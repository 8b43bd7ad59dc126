//! The program `socks-proxy`, as its user sees it.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod config;
mod ending;
mod file;
#[cfg(target_os = "linux")]
mod leaving;
mod limits;
mod listening;
mod logging;
mod names;
#[cfg(unix)]
mod reload;
mod signals;
mod stopped;
mod users;
mod ways_out;
