//! What a client offers to show who it is.

use alloc::{sync::Arc, vec::Vec};

use crate::{
    Credentials,
    v5::{self, Method},
};

/// The methods that a SOCKS5 client offers, in its order of preference, and
/// the credentials for the one that takes some.
///
/// Many servers choose by their own preference, or take the first method that
/// suits them: offer none that should not be taken.
///
/// Cheap to clone: a client of many connections makes it once.
#[derive(Clone, Debug)]
pub struct Offer {
    methods: Arc<[Method]>,
    credentials: Option<Arc<Credentials>>,
}

impl Offer {
    /// No authentication.
    #[must_use]
    pub fn none() -> Self {
        Self::method(Method::NONE)
    }

    /// Username and password, which the machine sends by itself.
    #[must_use]
    pub fn password(credentials: Credentials) -> Self {
        Self {
            methods: [Method::USERNAME_PASSWORD].into(),
            credentials: Some(Arc::new(credentials)),
        }
    }

    /// A method that the caller negotiates, once it is chosen.
    ///
    /// [`Method::NO_ACCEPTABLE`] is no method: it makes an empty offer.
    #[must_use]
    pub fn method(method: Method) -> Self {
        Self {
            methods: (method != Method::NO_ACCEPTABLE)
                .then_some(method)
                .into_iter()
                .collect(),
            credentials: None,
        }
    }

    /// What this offers, and then what `other` does. Where both offer the same
    /// method, or have credentials, the first one counts.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let more = other.methods().filter(|method| !self.includes(*method));
        Self {
            methods: self.methods().chain(more).collect(),
            credentials: self.credentials.or(other.credentials),
        }
    }

    /// The methods on offer, each of them once.
    pub fn methods(&self) -> impl Iterator<Item = Method> + '_ {
        self.methods.iter().copied()
    }

    /// Writes the greeting: each method is there once, so there are no more than 255.
    pub(super) fn greet(&self, out: &mut Vec<u8>) {
        let len = u8::try_from(self.methods.len()).unwrap_or(u8::MAX);
        out.extend([v5::VERSION, len]);
        out.extend(self.methods.iter().map(|method| method.0));
    }

    pub(super) fn includes(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }

    /// Whether a method is on offer that the machine does not negotiate.
    pub(super) fn asks_the_caller(&self) -> bool {
        self.methods.iter().any(|&method| match method {
            Method::NONE => false,
            Method::USERNAME_PASSWORD => self.credentials.is_none(),
            _ => true,
        })
    }

    /// They are needed once.
    pub(super) fn take_credentials(&mut self) -> Option<Arc<Credentials>> {
        self.credentials.take()
    }
}
