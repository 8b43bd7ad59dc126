use std::{net::IpAddr, sync::Arc, time::Duration};

/// The addresses of a name, and for how long that holds: what resolvers answer with
/// that know it.
///
/// A [`CacheLayer`](crate::works::resolve::CacheLayer) goes by it; to all others it is
/// a list of addresses. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    addrs: Arc<[IpAddr]>,
    ttl: Option<Duration>,
}

impl Answer {
    /// These addresses, in the order in which they are to be tried, for this long;
    /// with none, for as long as a cache likes.
    pub fn new(addrs: impl IntoIterator<Item = IpAddr>, ttl: Option<Duration>) -> Self {
        let addrs = addrs.into_iter().collect();
        Self { addrs, ttl }
    }

    /// The addresses, in order.
    #[must_use]
    pub fn addrs(&self) -> &[IpAddr] {
        &self.addrs
    }

    /// For how long they hold, from when they were given.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    pub(super) fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl IntoIterator for Answer {
    type Item = IpAddr;
    type IntoIter = std::vec::IntoIter<IpAddr>;

    fn into_iter(self) -> Self::IntoIter {
        Vec::from(&*self.addrs).into_iter()
    }
}
