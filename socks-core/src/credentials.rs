//! Usernames and passwords: RFC 1929's fields.

use alloc::boxed::Box;
use core::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

/// A username of at most 255 bytes; RFC 1929 does not say in which encoding.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Box<[u8]>);

impl Username {
    /// The longest username, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Takes `username`; none if it is too long.
    pub fn new(username: impl AsRef<[u8]>) -> Option<Self> {
        let username = username.as_ref();
        (username.len() <= Self::MAX_LEN).then(|| Self(username.into()))
    }

    /// The username's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The username as text, if it is UTF-8.
    #[must_use]
    pub fn to_str(&self) -> Option<&str> {
        core::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A password of at most 255 bytes, zeroed when it is dropped.
///
/// It is compared in constant time, whatever its length and wherever the
/// difference, and prints as `Password(..)`.
#[derive(Clone)]
pub struct Password(Zeroizing<Box<[u8]>>);

impl Password {
    /// The longest password, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Takes `password`; none if it is too long.
    pub fn new(password: impl AsRef<[u8]>) -> Option<Self> {
        let password = password.as_ref();
        (password.len() <= Self::MAX_LEN).then(|| Self(Zeroizing::new(password.into())))
    }

    /// The password's bytes. Whoever asks for them keeps them out of logs.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Every password fills the same space, its length included, so that a
    /// comparison takes as long for all of them.
    fn padded(&self) -> Zeroizing<[u8; Self::MAX_LEN + 1]> {
        let mut padded = Zeroizing::new([0; Self::MAX_LEN + 1]);
        if let Some((len, bytes)) = padded.split_first_mut() {
            *len = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
            for (to, from) in bytes.iter_mut().zip(&**self.0) {
                *to = *from;
            }
        }
        padded
    }
}

impl ConstantTimeEq for Password {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.padded().ct_eq(&*other.padded())
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Zeroize for Password {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// A username and a password (RFC 1929).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Who the client says it is.
    pub username: Username,
    /// Its proof.
    pub password: Password,
}

impl Credentials {
    /// Takes both; none if either is longer than 255 bytes.
    pub fn new(username: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Option<Self> {
        Some(Self {
            username: Username::new(username)?,
            password: Password::new(password)?,
        })
    }

    /// Fields behind a one-byte length: no longer than what `new` takes.
    pub(crate) fn from_wire(username: &[u8], password: &[u8]) -> Self {
        Self {
            username: Username(username.into()),
            password: Password(Zeroizing::new(password.into())),
        }
    }
}
