//! Usernames and passwords: RFC 1929's fields.

use alloc::boxed::Box;
use core::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::FieldError;

/// A username of at most 255 bytes; RFC 1929 does not say in which encoding.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Box<[u8]>);

impl Username {
    /// The longest username, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Takes `username`.
    ///
    /// # Errors
    ///
    /// If it is longer than 255 bytes.
    pub fn new(username: impl AsRef<[u8]>) -> Result<Self, FieldError> {
        let username = username.as_ref();
        FieldError::bound("username", username.len(), Self::MAX_LEN)?;
        Ok(Self(username.into()))
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
pub struct Password(
    /// The length, the bytes, and zeros up to the end: all passwords fill the
    /// same space, so that a comparison takes as long for any two of them.
    Box<Zeroizing<[u8; 1 + Self::MAX_LEN]>>,
);

impl Clone for Password {
    fn clone(&self) -> Self {
        let [len, ..] = **self.0;
        Self::padded(len, self.as_bytes())
    }
}

impl Password {
    /// The longest password, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Takes `password`.
    ///
    /// # Errors
    ///
    /// If it is longer than 255 bytes.
    pub fn new(password: impl AsRef<[u8]>) -> Result<Self, FieldError> {
        let password = password.as_ref();
        FieldError::bound("password", password.len(), Self::MAX_LEN)?;
        let len = u8::try_from(password.len()).unwrap_or(u8::MAX);
        Ok(Self::padded(len, password))
    }

    /// `len` is that of `password`.
    fn padded(len: u8, password: &[u8]) -> Self {
        // Filled in where it stays: moving it would leave a copy behind.
        let mut padded = Box::new(Zeroizing::new([0; 1 + Self::MAX_LEN]));
        for (to, from) in padded.iter_mut().zip([&len].into_iter().chain(password)) {
            *to = *from;
        }
        Self(padded)
    }

    /// The password's bytes. Whoever asks for them keeps them out of logs.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let [len, bytes @ ..] = &**self.0;
        bytes.get(..usize::from(*len)).unwrap_or_default()
    }
}

impl ConstantTimeEq for Password {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.as_slice().ct_eq(other.0.as_slice())
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
    /// Leaves the empty password.
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Password {}

/// A username and a password (RFC 1929).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Who the client says it is.
    pub username: Username,
    /// Its proof.
    pub password: Password,
}

impl Credentials {
    /// Takes both.
    ///
    /// # Errors
    ///
    /// If either is longer than 255 bytes.
    pub fn new(username: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Result<Self, FieldError> {
        Ok(Self {
            username: Username::new(username)?,
            password: Password::new(password)?,
        })
    }

    /// Fields behind a one-byte length: no longer than what `new` takes.
    pub(crate) fn from_wire(username: &[u8], password: &[u8]) -> Self {
        let password_len = u8::try_from(password.len()).unwrap_or(u8::MAX);
        Self {
            username: Username(username.into()),
            password: Password::padded(password_len, password),
        }
    }
}
