//! What is kept of a name and a password, of which neither must be found in memory.

use std::io;

use blake2::{
    Blake2bMac,
    digest::{KeyInit, Mac, consts::U32},
};
use zeroize::Zeroizing;

/// Fields under a key: who sees it can try passwords only with the key.
pub(super) type Fingerprint = [u8; 32];

/// A random key of its own.
#[derive(Clone)]
pub(super) struct Fingerprints(Blake2bMac<U32>);

impl Fingerprints {
    pub(super) fn new() -> io::Result<Self> {
        let mut key = Zeroizing::new([0; 64]);
        getrandom::fill(&mut *key)?;
        Ok(Self(Blake2bMac::new(&(*key).into())))
    }

    pub(super) fn of<'a>(&self, fields: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
        let mut mac = self.0.clone();
        for field in fields {
            // Where one ends and the next begins is part of it.
            mac.update(&field.len().to_be_bytes());
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }
}
