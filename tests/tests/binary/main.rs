//! The program `socks-proxy`, as its user sees it.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod activation;
mod coming;
mod config;
mod ending;
mod file;
mod kept_http;
#[cfg(target_os = "linux")]
mod leaving;
mod limits;
mod listening;
mod log_file;
mod logging;
mod manager;
mod names;
mod node;
mod page;
mod readme;
#[cfg(unix)]
mod reload;
mod secrets;
mod signals;
mod stopped;
mod udp;
mod users;
mod ways_out;
