use std::sync::Arc;

use tower_layer::Layer;

use super::{Bandwidth, ByteRate, limits::Limits, shaper::Shaper, table::Table};
use crate::{
    middleware::client_key::ClientKey,
    session::{Identity, Session},
};

/// Limits the bytes per second of sessions. See the
/// [module's page](crate::middleware::bandwidth).
///
/// Without a limit set, there is none.
#[derive(Clone, Debug, Default)]
pub struct BandwidthLayer {
    per_tunnel: Option<ByteRate>,
    per_client: Option<Arc<Table<Option<ClientKey>>>>,
    per_identity: Option<Arc<Table<Option<Identity>>>>,
    overall: Option<Arc<Shaper>>,
}

impl BandwidthLayer {
    /// Limits nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What each tunnel, or UDP association, may move.
    #[must_use]
    pub fn with_per_tunnel(mut self, rate: ByteRate) -> Self {
        self.per_tunnel = Some(rate);
        self
    }

    /// What all tunnels of a client, by its address, may move together.
    #[must_use]
    pub fn with_per_client(mut self, rate: ByteRate) -> Self {
        self.per_client = Some(Arc::new(Table::new(rate)));
        self
    }

    /// What all tunnels of a user may move together. The layer then stands
    /// behind [`AuthenticateLayer`](crate::AuthenticateLayer): before it, all
    /// count as one, as do those who need not say who they are.
    #[must_use]
    pub fn with_per_identity(mut self, rate: ByteRate) -> Self {
        self.per_identity = Some(Arc::new(Table::new(rate)));
        self
    }

    /// What all tunnels may move together.
    #[must_use]
    pub fn with_overall(mut self, rate: ByteRate) -> Self {
        self.overall = Some(Arc::new(Shaper::new(rate)));
        self
    }

    /// Leaves in `session` what the relay is to carry out.
    pub(super) fn apply(&self, session: &mut Session) {
        let client = self.per_client.as_ref();
        let client = client.map(|table| table.get(ClientKey::of_session(session)));
        let identity = self.per_identity.as_ref();
        let identity = identity.map(|table| table.get(session.identity.clone()));
        let tunnel = self.per_tunnel.map(Shaper::new);
        let shared = [client, identity, self.overall.clone()];
        if let Some(limits) = Limits::new(tunnel, shared) {
            session.policy.add_throttle(Arc::new(limits));
        }
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
