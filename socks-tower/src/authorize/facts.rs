use std::net::IpAddr;

use socks_core::{DomainName, v5::Command};

use super::clock::Moment;
use crate::Session;

/// What rules are asked about: one address of a target, or a target without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) session: &'a Session,
    pub(super) command: Command,
    pub(super) name: Option<&'a DomainName>,
    /// With a v4-mapped form undone.
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) moment: &'a Moment<'a>,
}

impl Facts<'_> {
    pub(super) fn client(&self) -> Option<IpAddr> {
        let addr = self.session.client_addr?;
        Some(addr.ip().to_canonical())
    }
}
