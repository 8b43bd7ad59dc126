use std::{fmt, sync::Arc};

use crate::{
    middleware::limit::{KeyOf, LimitKey},
    session::{ClientKey, Error, Identity, Session},
};

/// What connections are counted by, on all nodes.
#[derive(Clone)]
pub struct By {
    find: Arc<dyn Fn(&Session) -> Result<Option<String>, Error> + Send + Sync>,
}

impl By {
    /// All together.
    #[must_use]
    pub fn overall() -> Self {
        Self::text(KeyOf::overall(), |()| String::new())
    }

    /// Where the client is, IPv6 by /64. Those without an address (Unix sockets) count as
    /// one.
    #[must_use]
    pub fn client() -> Self {
        Self::text(KeyOf::client(), |client: Option<ClientKey>| {
            client.map_or_else(String::new, |client| client.to_string())
        })
    }

    /// Who the client is. Those whom nobody asked count as one. It is for behind
    /// authentication, or around the connector: before, every session fails.
    #[must_use]
    pub fn identity() -> Self {
        Self::text(KeyOf::identity(), |identity: Option<Identity>| {
            identity.map_or_else(String::new, |identity| format!("={}", identity.as_str()))
        })
    }

    /// Whatever `key` says, in a short text. Sessions for which it says `None` are not
    /// limited.
    #[must_use]
    pub fn key(key: impl Fn(&Session) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            find: Arc::new(move |session| Ok(key(session))),
        }
    }

    fn text<K: LimitKey>(
        key: KeyOf<K>,
        text: impl Fn(K) -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            find: Arc::new(move |session| Ok(key.of(session)?.map(&text))),
        }
    }

    pub(super) fn of(&self, session: &Session) -> Result<Option<String>, Error> {
        (self.find)(session)
    }
}

impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("By(..)")
    }
}
