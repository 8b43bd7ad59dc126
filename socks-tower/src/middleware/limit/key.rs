use std::{fmt, hash::Hash, sync::Arc};

use crate::session::{ClientKey, Error, ErrorKind, Identity, Session};

/// What connections can be counted by: any value that can be compared, hashed
/// and cloned. Each key is kept, so let it be small.
pub trait LimitKey: Clone + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> LimitKey for T {}

/// How many keys are counted, unless set.
pub(super) const MAX_KEYS: usize = 65_536;

/// Finds a session's key; none if it has none.
#[derive(Clone)]
pub(super) struct KeyOf<K> {
    find: Arc<dyn Fn(&Session) -> Option<K> + Send + Sync>,
    /// It means something behind authentication alone.
    is_identity: bool,
}

/// A limit per identity stands where nobody has been asked who it is yet.
#[derive(Debug, thiserror::Error)]
#[error("a limit per identity stands before authentication, where nobody has one")]
struct Misplaced;

impl<K> KeyOf<K> {
    pub(super) fn new(key: impl Fn(&Session) -> Option<K> + Send + Sync + 'static) -> Self {
        Self {
            find: Arc::new(key),
            is_identity: false,
        }
    }

    /// # Errors
    ///
    /// If it can never be known here.
    pub(super) fn of(&self, session: &Session) -> Result<Option<K>, Error> {
        let asked = session.method.is_some() || session.identity.is_some();
        match self.is_identity && !asked {
            true => Err(Error::new(ErrorKind::Other, Misplaced)),
            false => Ok((self.find)(session)),
        }
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
        Self {
            is_identity: true,
            ..Self::new(|session| Some(session.identity.clone()))
        }
    }
}

impl<K> fmt::Debug for KeyOf<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyOf(..)")
    }
}
