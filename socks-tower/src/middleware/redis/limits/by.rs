use std::{
    fmt::{self, Write},
    sync::Arc,
};

use crate::{
    middleware::limit::{KeyOf, LimitKey},
    session::{ClientKey, Error, Identity, Session},
};

/// What connections are counted by, on all nodes.
#[derive(Clone)]
pub struct By {
    /// Writes the key behind what there is, if there is one.
    write: Arc<dyn Fn(&Session, &mut String) -> Result<bool, Error> + Send + Sync>,
}

impl By {
    /// All together.
    #[must_use]
    pub fn overall() -> Self {
        Self::text(KeyOf::overall(), |(), _| Ok(()))
    }

    /// Where the client is, IPv6 by /64. Those without an address (Unix sockets) count as
    /// one.
    #[must_use]
    pub fn client() -> Self {
        Self::text(KeyOf::client(), |client: Option<ClientKey>, text| {
            client.map_or(Ok(()), |client| write!(text, "{client}"))
        })
    }

    /// Who the client is. Those whom nobody asked count as one. It is for behind
    /// authentication, or around the connector: before, every session fails.
    #[must_use]
    pub fn identity() -> Self {
        Self::text(KeyOf::identity(), |identity: Option<Identity>, text| {
            identity.map_or(Ok(()), |identity| write!(text, "={}", identity.as_str()))
        })
    }

    /// Whatever `key` says, in a short text. Sessions for which it says `None` are not
    /// limited.
    #[must_use]
    pub fn key(key: impl Fn(&Session) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::text(KeyOf::new(key), |key, text| text.write_str(&key))
    }

    fn text<K: LimitKey>(
        key: KeyOf<K>,
        write: impl Fn(K, &mut String) -> fmt::Result + Send + Sync + 'static,
    ) -> Self {
        Self {
            write: Arc::new(move |session, text| {
                let Some(key) = key.of(session)? else {
                    return Ok(false);
                };
                // A string takes all that is written.
                Ok(write(key, text).is_ok())
            }),
        }
    }

    /// The key in Redis, which begins with `prefix`.
    pub(super) fn of(&self, session: &Session, prefix: &str) -> Result<Option<Arc<str>>, Error> {
        const MOST: usize = 48;
        let mut text = String::with_capacity(prefix.len() + MOST);
        text.push_str(prefix);
        let has_one = (self.write)(session, &mut text)?;
        Ok(has_one.then(|| text.into()))
    }
}

impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("By(..)")
    }
}
