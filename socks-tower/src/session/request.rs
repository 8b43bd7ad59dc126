//! What a work service is asked: session, command and target, and no socket.

use std::{net::SocketAddr, slice, sync::Arc};

use socks_core::{Target, v5::Command};

use crate::session::{HasSession, Session, canonical};

/// What a client wants, as verifier, resolver, rules and connector see it.
///
/// `T` says how much is known of the target: [`Target`] as the client named
/// it, [`Pinned`] once its addresses are known.
///
/// It is equal to another that asks the same for the same [`Session`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request<T = Target> {
    /// Who asks.
    pub session: Session,
    /// What to do.
    pub command: Command,
    /// What to do it with.
    pub target: T,
}

impl<T> Request<T> {
    /// A request of `session`.
    pub fn new(session: Session, command: Command, target: T) -> Self {
        Self {
            session,
            command,
            target,
        }
    }

    /// The copy that a work is handed.
    pub(crate) fn for_work(&self) -> Self
    where
        T: Clone,
    {
        Self::new(self.session.for_work(), self.command, self.target.clone())
    }

    /// The same request about another target.
    pub fn with_target<U>(self, target: U) -> Request<U> {
        Request::new(self.session, self.command, target)
    }
}

impl<T> HasSession for Request<T> {
    fn session(&self) -> &Session {
        &self.session
    }

    fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// A target and the addresses that it has: what rules judge, and all that a
/// connector may dial. A name that resolves differently a moment later changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    target: Target,
    addrs: Addrs,
}

/// One alone, which most targets have, needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Addrs {
    One(SocketAddr),
    /// None, or two and more.
    Many(Arc<[SocketAddr]>),
}

impl FromIterator<SocketAddr> for Addrs {
    fn from_iter<I: IntoIterator<Item = SocketAddr>>(addrs: I) -> Self {
        let mut addrs = addrs.into_iter().fuse();
        match (addrs.next(), addrs.next()) {
            (Some(only), None) => Self::One(only),
            (first, second) => Self::Many(first.into_iter().chain(second).chain(addrs).collect()),
        }
    }
}

impl Pinned {
    /// Pins `target` to `addrs`, in the order in which they shall be tried.
    /// v4-mapped addresses are undone.
    pub fn new(target: Target, addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        let addrs = addrs.into_iter().map(canonical).collect();
        Self { target, addrs }
    }

    /// The target as the client named it.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The addresses, in order. May be empty.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        match &self.addrs {
            Addrs::One(only) => slice::from_ref(only),
            Addrs::Many(addrs) => addrs,
        }
    }

    /// Narrows the addresses to those that `keep` likes.
    pub fn retain(&mut self, keep: impl FnMut(&SocketAddr) -> bool) {
        let mut keep = keep;
        if !self.addrs().iter().all(&mut keep) {
            self.addrs = self.addrs().iter().copied().filter(keep).collect();
        }
    }
}

impl From<SocketAddr> for Pinned {
    #[inline]
    fn from(addr: SocketAddr) -> Self {
        let addr = canonical(addr);
        Self {
            target: addr.into(),
            addrs: Addrs::One(addr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Identity;

    #[test]
    fn addresses_are_kept_in_order_however_many_there_are() {
        let addr = |last| SocketAddr::from(([192, 0, 2, last], 80));
        let mut pinned = Pinned::new(addr(1).into(), []);
        assert_eq!(pinned.addrs(), []);
        for count in 1..4 {
            pinned = Pinned::new(addr(1).into(), (1..=count).map(addr));
            assert!(pinned.addrs().iter().copied().eq((1..=count).map(addr)));
        }
        pinned.retain(|it| *it != addr(1) && *it != addr(3));
        assert_eq!(pinned.addrs(), [addr(2)]);
        assert_eq!(pinned, Pinned::new(addr(1).into(), [addr(2)]));
        pinned.retain(|_| false);
        assert_eq!(pinned.addrs(), []);
    }

    #[test]
    fn a_request_is_equal_to_one_that_asks_the_same_for_the_same_session() {
        let target = |port| Target::new(std::net::IpAddr::from([192, 0, 2, 1]), port);
        let session = Session::new();
        let request = |port| Request::new(session.clone(), Command::CONNECT, target(port));
        assert_eq!(request(80), request(80));
        assert_ne!(request(80), request(81));
        assert_ne!(
            request(80),
            Request::new(Session::new(), Command::CONNECT, target(80))
        );
        let mut joe = request(80);
        joe.session.identity = Some(Identity::new("joe"));
        assert_ne!(request(80), joe);
    }
}
