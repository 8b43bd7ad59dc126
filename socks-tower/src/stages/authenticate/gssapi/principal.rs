use std::{fmt, sync::Arc};

/// A client's name in Kerberos, with its realm: `joe@EXAMPLE.ORG`.
///
/// It is the KDC of its realm that says so. Where realms trust each other, names of all of
/// them come: whoever makes of it a name without a realm looks at that first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// As the library writes it: what stands for itself in a name is behind a backslash
    /// there.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its realm, if that is `realm`.
    ///
    /// ```
    /// use socks_tower::Principal;
    ///
    /// let joe = Principal::new("joe@EXAMPLE.ORG");
    /// assert_eq!(joe.of_realm("EXAMPLE.ORG"), Some("joe"));
    /// assert_eq!(joe.of_realm("EXAMPLE.COM"), None);
    /// ```
    #[must_use]
    pub fn of_realm(&self, realm: &str) -> Option<&str> {
        let mut escaped = false;
        let at = self.0.bytes().position(|byte| {
            let begins = byte == b'@' && !escaped;
            escaped = byte == b'\\' && !escaped;
            begins
        })?;
        let (name, rest) = self.0.split_at_checked(at)?;
        (rest.strip_prefix('@') == Some(realm)).then_some(name)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_debug().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_begins_at_the_first_sign_that_stands_for_nothing_else() {
        let of = |name: &str, realm| Principal::new(name).of_realm(realm).map(str::to_owned);
        assert_eq!(of(r"joe\@A@B", "B").as_deref(), Some(r"joe\@A"));
        assert_eq!(of(r"joe\\@B", "B").as_deref(), Some(r"joe\\"));
        assert_eq!(of(r"joe@A\@B", "B"), None);
        assert_eq!(of("joe@B@B", "B"), None);
        assert_eq!(of("joe", ""), None);
        assert_eq!(of("host/a@B", "B").as_deref(), Some("host/a"));
    }
}
