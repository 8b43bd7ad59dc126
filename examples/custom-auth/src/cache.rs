//! Remembers for a while whom a verifier has let in. SOCKS authenticates each
//! connection anew, and a hash is meant to be slow.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use blake2::{
    Blake2bMac512,
    digest::{KeyInit, Mac},
};
use socks_tower::{Attempt, BoxError, Credentials, Identity, Work};
use tokio::{sync::OnceCell, time::Instant};
use tower::{Layer, Service};

/// As many are remembered at a time. What finds no place costs a hash.
const MOST: usize = 4096;

/// Name and password under a key that is this process's own: who sees the
/// memory can try passwords, but only with the key, and finds none as it is.
type Fingerprint = [u8; 64];

struct Entry {
    identity: Arc<OnceCell<Identity>>,
    until: Instant,
}

/// Puts a [`Cache`] before a verifier.
pub struct CacheLayer {
    key: [u8; 64],
    ttl: Duration,
}

impl CacheLayer {
    pub fn new(ttl: Duration) -> Result<Self, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Self { key, ttl })
    }
}

impl<V> Layer<V> for CacheLayer {
    type Service = Cache<V>;

    fn layer(&self, verifier: V) -> Cache<V> {
        let known = Known {
            mac: Blake2bMac512::new(&self.key.into()),
            ttl: self.ttl,
            entries: Mutex::default(),
        };
        Cache {
            known: Arc::new(known),
            verifier,
        }
    }
}

/// Asks the verifier `V` about those who are not known.
#[derive(Clone)]
pub struct Cache<V> {
    known: Arc<Known>,
    verifier: V,
}

impl<V> Service<Attempt> for Cache<V>
where
    V: Work<Attempt, Response = Identity> + Sync,
{
    type Response = Identity;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Identity, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let Self { known, verifier } = self.clone();
        Box::pin(async move {
            let fingerprint = known.fingerprint(&attempt.credentials);
            let identity = known.entry(fingerprint);
            // Of those who come at once, one asks, and the others wait for it.
            let verdict = identity.get_or_try_init(|| verifier.run(attempt)).await;
            if verdict.is_err() {
                known.forget(&fingerprint, &identity);
            }
            verdict.cloned()
        })
    }
}

struct Known {
    mac: Blake2bMac512,
    ttl: Duration,
    entries: Mutex<HashMap<Fingerprint, Entry>>,
}

impl Known {
    fn fingerprint(&self, credentials: &Credentials) -> Fingerprint {
        let name = credentials.username.as_bytes();
        let mut mac = self.mac.clone();
        // Where the one ends and the other begins is part of it.
        mac.update(&name.len().to_be_bytes());
        mac.update(name);
        mac.update(credentials.password.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Who it is, or a cell to put that into.
    fn entry(&self, fingerprint: Fingerprint) -> Arc<OnceCell<Identity>> {
        let now = Instant::now();
        let mut entries = self.entries();
        if let Some(entry) = entries.get(&fingerprint).filter(|it| it.until > now) {
            return Arc::clone(&entry.identity);
        }
        if entries.len() >= MOST {
            entries.retain(|_, entry| entry.until > now);
        }
        let identity = Arc::new(OnceCell::new());
        if entries.len() < MOST {
            let entry = Entry {
                identity: Arc::clone(&identity),
                until: now + self.ttl,
            };
            entries.insert(fingerprint, entry);
        }
        identity
    }

    /// Refusals are not remembered: who guesses would fill the table.
    fn forget(&self, fingerprint: &Fingerprint, identity: &Arc<OnceCell<Identity>>) {
        let mut entries = self.entries();
        let entry = entries.get(fingerprint);
        if entry.is_some_and(|entry| Arc::ptr_eq(&entry.identity, identity)) {
            entries.remove(fingerprint);
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Fingerprint, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
