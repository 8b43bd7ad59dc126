//! The name of this proxy among others.

use std::str::FromStr;

use crate::config::Config;

/// A word that needs no quotes, wherever it is written.
#[derive(Clone)]
pub struct NodeName(String);

impl FromStr for NodeName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
        match text.len() {
            1..=64 if text.bytes().all(is_plain) => Ok(Self(text.to_owned())),
            _ => Err("not 1 to 64 letters, digits, '-', '_' and '.'"),
        }
    }
}

/// What the operator calls it, or what the machine is called.
pub fn name(config: &Config) -> String {
    said(config).unwrap_or_else(host)
}

/// What the operator calls it.
pub fn said(config: &Config) -> Option<String> {
    config.node.as_ref().map(|name| name.0.clone())
}

#[cfg(unix)]
fn host() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "localhost".to_owned())
}
