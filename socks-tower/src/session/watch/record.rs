use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use socks_core::{
    Target, Username,
    v4::UserId,
    v5::{Command, ReplyCode},
};

use super::StageKind;
use crate::session::{AuthenticatedBy, Datagrams, Identity, Protocol, Session, SessionId};

/// What is known of a session so far.
///
/// Stages note in it what they learn; what a session does not come to stays
/// `None`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// Its number.
    pub id: SessionId,
    /// When it was accepted, by the system's clock.
    pub accepted_at: SystemTime,
    /// The other end of its socket: the client, or what stands in front of us.
    pub peer_addr: Option<SocketAddr>,
    /// Where the client is, by a PROXY header if one was believed.
    pub client_addr: Option<SocketAddr>,
    /// Where the client reached us.
    pub local_addr: Option<SocketAddr>,
    /// What it speaks; none before the first stage.
    pub protocol: Option<Protocol>,
    /// Who it was shown to be.
    pub identity: Option<Identity>,
    /// By what; none before authentication.
    pub method: Option<AuthenticatedBy>,
    /// The username that it gave. Nothing backs that, unless there is an identity
    /// too.
    pub claimed: Option<Username>,
    /// Who a SOCKS4 client says it is: nothing backs that.
    pub user_id: Option<UserId>,
    /// What it wants.
    pub command: Option<Command>,
    /// Where to, as the client named it.
    pub target: Option<Target>,
    /// The other end of the tunnel, if it is a plain socket: the target, the
    /// upstream proxy, or BIND's peer.
    pub upstream_addr: Option<SocketAddr>,
    /// What the client was told, the last time it was told anything.
    pub reply: Option<ReplyCode>,
    /// Whether its request was granted, so that bytes could go through.
    pub established: bool,
    /// The datagrams of an association so far.
    pub(super) datagrams: Option<Datagrams>,
    took: [Option<Duration>; StageKind::COUNT],
}

impl Record {
    /// What is known when `session` begins.
    #[must_use]
    pub fn new(session: &Session) -> Self {
        Self {
            id: session.id(),
            accepted_at: SystemTime::now(),
            peer_addr: session.client_addr,
            client_addr: session.client_addr,
            local_addr: session.local_addr,
            protocol: session.protocol,
            identity: session.identity.clone(),
            claimed: None,
            method: session.method,
            user_id: None,
            command: None,
            target: None,
            upstream_addr: None,
            reply: None,
            established: false,
            datagrams: None,
            took: [None; StageKind::COUNT],
        }
    }

    /// How long a stage took; in all, if there were several of its kind, as for
    /// the destinations of a UDP association. None if it has not ended.
    #[must_use]
    pub fn took(&self, stage: StageKind) -> Option<Duration> {
        self.took.get(stage as usize).copied().flatten()
    }

    /// The username that was given and not believed, for logs.
    pub(crate) fn refused_name(&self) -> Option<&Username> {
        self.claimed.as_ref().filter(|_| self.identity.is_none())
    }

    /// What a UDP association has carried and dropped so far; none for anything
    /// else.
    #[must_use]
    pub fn datagrams(&self) -> Option<Datagrams> {
        self.datagrams
    }

    pub(super) fn add(&mut self, stage: StageKind, took: Duration) {
        if let Some(total) = self.took.get_mut(stage as usize) {
            *total = Some(total.unwrap_or_default().saturating_add(took));
        }
    }

    /// Takes over what the session knows by now.
    pub(crate) fn learn(&mut self, session: &Session) {
        self.client_addr = session.client_addr;
        self.local_addr = session.local_addr;
        self.protocol = session.protocol;
        self.method = session.method;
        self.identity.clone_from(&session.identity);
        // Most say nothing.
        let user_id = session.user_id.as_ref();
        self.user_id = user_id.filter(|id| !id.as_bytes().is_empty()).cloned();
    }
}
