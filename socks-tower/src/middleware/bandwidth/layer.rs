use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{
    Bandwidth, BandwidthRate, ByteRate, DatagramRate, limits::Limits, shaper::Shaper, table::Table,
};
use crate::session::{ClientKey, Identity, Session};

/// Finds a session's limit; none if it is not limited.
type Find = Arc<dyn Fn(&Session) -> Option<Arc<Shaper>> + Send + Sync>;

/// Limits the bytes, and the datagrams, per second of sessions. See the
/// [module's page](crate::middleware::bandwidth).
///
/// Its clones, and all that it is wrapped around, count together.
#[derive(Clone)]
pub struct BandwidthLayer {
    per_tunnel: Option<ByteRate>,
    per_association: Option<DatagramRate>,
    shared: Vec<Find>,
}

impl BandwidthLayer {
    /// What each tunnel, or UDP association, may move.
    #[must_use]
    pub fn per_tunnel(rate: impl Into<BandwidthRate>) -> Self {
        let (per_tunnel, per_association) = match rate.into() {
            BandwidthRate::Bytes(rate) => (Some(rate), None),
            BandwidthRate::Datagrams(rate) => (None, Some(rate)),
        };
        Self {
            per_tunnel,
            per_association,
            shared: Vec::new(),
        }
    }

    /// What all tunnels may move together.
    #[must_use]
    pub fn overall(rate: impl Into<BandwidthRate>) -> Self {
        let all = Arc::new(Shaper::new(rate.into()));
        Self::found(move |_| Some(Arc::clone(&all)))
    }

    /// What all tunnels of a client, by its address, may move together. Those
    /// without an address (Unix sockets) count as one.
    #[must_use]
    pub fn per_client(rate: impl Into<BandwidthRate>) -> Self {
        Self::by(rate, |session| Some(ClientKey::of_session(session)))
    }

    /// What all tunnels of a user may move together. Clients that nobody asked
    /// who they are count as one. It stands behind
    /// [`AuthenticateLayer`](crate::AuthenticateLayer).
    #[must_use]
    pub fn per_identity(rate: impl Into<BandwidthRate>) -> Self {
        Self::by(rate, |session| -> Option<Option<Identity>> {
            Some(session.identity.clone())
        })
    }

    /// What all tunnels with the same `key` may move together. Sessions for which
    /// it says `None` are not limited.
    #[must_use]
    pub fn by<K>(
        rate: impl Into<BandwidthRate>,
        key: impl Fn(&Session) -> Option<K> + Send + Sync + 'static,
    ) -> Self
    where
        K: Clone + Eq + std::hash::Hash + Send + Sync + 'static,
    {
        let table = Table::new(rate.into());
        Self::found(move |session| Some(table.get(key(session)?)))
    }

    /// These limits and those of `other`: bytes pass if all let them.
    ///
    /// It does what two layers would, for less: the clock is looked at once.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.per_tunnel = match (self.per_tunnel, other.per_tunnel) {
            (Some(one), Some(other)) => Some(ByteRate(one.0.narrowest(other.0))),
            (one, other) => one.or(other),
        };
        self.per_association = match (self.per_association, other.per_association) {
            (Some(one), Some(other)) => Some(DatagramRate(one.0.narrowest(other.0))),
            (one, other) => one.or(other),
        };
        self.shared.extend(other.shared);
        self
    }

    fn found(find: impl Fn(&Session) -> Option<Arc<Shaper>> + Send + Sync + 'static) -> Self {
        Self {
            per_tunnel: None,
            per_association: None,
            shared: vec![Arc::new(find)],
        }
    }

    /// Leaves in `session` what the relay is to carry out.
    pub(super) fn apply(&self, session: &mut Session) {
        let tunnel = self.per_tunnel.map(|rate| Shaper::new(rate.into()));
        let own = self
            .per_association
            .map(|rate| Arc::new(Shaper::new(rate.into())));
        let shared = self.shared.iter().filter_map(|find| find(session));
        if let Some(limits) = Limits::new(tunnel, own.into_iter().chain(shared).collect()) {
            session.policy.add_throttle(limits);
        }
    }
}

impl fmt::Debug for BandwidthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BandwidthLayer")
            .field("per_tunnel", &self.per_tunnel)
            .field("per_association", &self.per_association)
            .field("shared", &self.shared.len())
            .finish()
    }
}

impl<S> Layer<S> for BandwidthLayer {
    type Service = Bandwidth<S>;

    fn layer(&self, inner: S) -> Bandwidth<S> {
        Bandwidth {
            config: self.clone(),
            inner,
        }
    }
}
