use std::{fmt, hash::Hash, sync::Arc};

use crate::session::{ClientKey, Error, ErrorKind, Identity, Session};

/// What connections can be counted by: any value that can be compared, hashed
/// and cloned. Each key is kept, so let it be small.
pub trait LimitKey: Clone + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> LimitKey for T {}

/// How many keys are counted, unless set.
pub(in crate::middleware) const MAX_KEYS: usize = 65_536;

/// Finds the key of what passes; none if it has none.
pub(in crate::middleware) struct KeyOf<K, Seen = Session> {
    find: Arc<dyn Fn(&Seen) -> Result<Option<K>, Error> + Send + Sync>,
}

/// A limit per identity stands where nobody has been asked who it is yet.
#[derive(Debug, thiserror::Error)]
#[error("a limit per identity stands before authentication, where nobody has one")]
struct Misplaced;

impl<K, Seen> KeyOf<K, Seen> {
    pub(in crate::middleware) fn new(
        key: impl Fn(&Seen) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        Self {
            find: Arc::new(move |seen| Ok(key(seen))),
        }
    }

    /// # Errors
    ///
    /// If it can never be known here.
    pub(in crate::middleware) fn of(&self, seen: &Seen) -> Result<Option<K>, Error> {
        (self.find)(seen)
    }
}

impl<K, Seen> Clone for KeyOf<K, Seen> {
    fn clone(&self) -> Self {
        Self {
            find: Arc::clone(&self.find),
        }
    }
}

impl KeyOf<()> {
    pub(in crate::middleware) fn overall() -> Self {
        Self::new(|_| Some(()))
    }
}

impl KeyOf<Option<ClientKey>> {
    pub(in crate::middleware) fn client() -> Self {
        Self::new(|session| Some(ClientKey::of_session(session)))
    }
}

impl KeyOf<Option<Identity>> {
    pub(in crate::middleware) fn identity() -> Self {
        Self {
            find: Arc::new(|session| {
                // It means something behind authentication alone.
                match session.method.is_some() || session.identity.is_some() {
                    true => Ok(Some(session.identity.clone())),
                    false => Err(Error::new(ErrorKind::Other, Misplaced)),
                }
            }),
        }
    }
}

impl<K, Seen> fmt::Debug for KeyOf<K, Seen> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyOf(..)")
    }
}
