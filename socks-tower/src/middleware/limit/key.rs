use std::{fmt, hash::Hash, sync::Arc};

use crate::{
    middleware::client_key::ClientKey,
    session::{Identity, Session},
};

/// What connections can be counted by: any value that can be compared, hashed
/// and cloned. Each key is kept, so let it be small.
pub trait LimitKey: Clone + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> LimitKey for T {}

/// How many keys are counted, unless set.
pub(super) const MAX_KEYS: usize = 65_536;

/// Finds a session's key; none if it has none.
#[derive(Clone)]
pub(super) struct KeyOf<K>(Arc<dyn Fn(&Session) -> Option<K> + Send + Sync>);

impl<K> KeyOf<K> {
    pub(super) fn new(key: impl Fn(&Session) -> Option<K> + Send + Sync + 'static) -> Self {
        Self(Arc::new(key))
    }

    pub(super) fn of(&self, session: &Session) -> Option<K> {
        (self.0)(session)
    }
}

impl KeyOf<()> {
    pub(super) fn overall() -> Self {
        Self::new(|_| Some(()))
    }
}

impl KeyOf<Option<ClientKey>> {
    pub(super) fn client() -> Self {
        Self::new(|session| Some(ClientKey::of_session(session)))
    }
}

impl KeyOf<Option<Identity>> {
    pub(super) fn identity() -> Self {
        Self::new(|session| Some(session.identity.clone()))
    }
}

impl<K> fmt::Debug for KeyOf<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyOf(..)")
    }
}
