use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::session::{ClientKey, NameSuffix, Session};

/// What keeps to one upstream: a client, an identity, a part of a user name.
///
/// Each upstream has a rank for each key, which is computed and not kept (rendezvous
/// hashing): ten thousand keys cost no more memory than one. A key goes to the first
/// of its upstreams that is in, also after a restart; one that is put out, or removed,
/// gives its keys to all others alike, and gets the same ones back. The ranks may be
/// others with another version of Rust.
#[derive(Clone)]
pub struct Sticky(Arc<dyn Fn(&Session) -> Option<u64> + Send + Sync>);

impl Sticky {
    /// A client, by its [`ClientKey`]. Those without an address go by load.
    #[must_use]
    pub fn client() -> Self {
        Self::by(ClientKey::of_session)
    }

    /// An identity, from wherever it comes. Clients that nobody asked go by load.
    #[must_use]
    pub fn identity() -> Self {
        Self::by(|session| session.identity.clone())
    }

    /// What a user writes behind its name, `joe-session-abc`: with
    /// [`SplitName`](crate::stages::authenticate::SplitName) around the verifier. Two
    /// users who write the same are two. Who writes nothing goes by load: a new
    /// upstream each time, as sellers of proxies have it.
    #[must_use]
    pub fn suffix() -> Self {
        Self::by(|session| {
            let suffix = session.extensions.get::<NameSuffix>()?;
            Some((session.identity.clone(), suffix.clone()))
        })
    }

    /// Whatever `key` finds in the session. Where it finds none, load decides.
    pub fn by<K: Hash>(key: impl Fn(&Session) -> Option<K> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |session| key(session).map(hash)))
    }

    pub(super) fn key(&self, session: &Session) -> Option<u64> {
        self.0(session)
    }
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sticky(..)")
    }
}

/// The same in every process.
pub(super) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The rank of an upstream for a key, both hashed: the highest comes first.
pub(super) fn rank(key: u64, upstream: u64) -> u64 {
    // The finaliser of SplitMix64: one bit of either changes half of all.
    let mut bits = key ^ upstream.rotate_left(32);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
