use std::{
    collections::HashMap,
    future::{Ready, ready},
    sync::Arc,
};

use socks_core::{Credentials, Password};
use tower_service::Service;

use super::Attempt;
use crate::session::{Identity, always_ready, opaque_future};

/// A fixed list of users: the simplest verifier.
///
/// An empty list lets nobody in. A password takes the same time to check
/// whether the user is there or not, and however much of it is right.
#[derive(Clone, Debug, Default)]
pub struct Users {
    passwords: Arc<HashMap<String, Password>>,
}

/// Somebody cannot be listed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsersError {
    /// A username or password longer than 255 bytes, which no client could send.
    #[error("username or password longer than 255 bytes")]
    TooLong,
    /// An empty username or password, which RFC 1929 does not have: both have
    /// 1 to 255 bytes.
    #[error("username or password empty")]
    Empty,
}

/// Somebody is not let in: there is no such user, or the password is another.
///
/// A verifier of your own may fail with it, or with any other error: what it is has
/// no influence on what the client hears.
#[derive(Clone, Debug, Default, thiserror::Error, PartialEq, Eq)]
#[error("wrong username or password")]
#[non_exhaustive]
pub struct WrongCredentials;

impl WrongCredentials {
    /// Nothing more is said of it.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Users {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets in `username` with `password`, each of 1 to 255 bytes (RFC 1929,
    /// section 2). The last password given for a username counts.
    ///
    /// # Errors
    ///
    /// [`UsersError::TooLong`] and [`UsersError::Empty`].
    pub fn with(mut self, username: &str, password: &str) -> Result<Self, UsersError> {
        if username.is_empty() || password.is_empty() {
            return Err(UsersError::Empty);
        }
        if username.len() > Password::MAX_LEN {
            return Err(UsersError::TooLong);
        }
        let Ok(password) = Password::new(password) else {
            return Err(UsersError::TooLong);
        };
        Arc::make_mut(&mut self.passwords).insert(username.to_owned(), password);
        Ok(self)
    }

    /// Lists all of them: pairs of a username and a password.
    ///
    /// ```
    /// use socks_tower::Users;
    ///
    /// let file = "joe:secret\nann:s3cret\n";
    /// let lines = file.lines().filter_map(|line| line.split_once(':'));
    /// let users = Users::try_from_iter(lines)?.with("bob", "53cret")?;
    /// # Ok::<(), socks_tower::UsersError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with), of the first that cannot be listed.
    pub fn try_from_iter<U, P>(users: impl IntoIterator<Item = (U, P)>) -> Result<Self, UsersError>
    where
        U: AsRef<str>,
        P: AsRef<str>,
    {
        let mut all = Self::new();
        all.try_extend(users)?;
        Ok(all)
    }

    /// Lists these, too. Clones that were made before do not.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with), of the first that cannot be listed; none of these
    /// is, then.
    pub fn try_extend<U, P>(
        &mut self,
        users: impl IntoIterator<Item = (U, P)>,
    ) -> Result<(), UsersError>
    where
        U: AsRef<str>,
        P: AsRef<str>,
    {
        let more = users
            .into_iter()
            .try_fold(self.clone(), |all, (username, password)| {
                all.with(username.as_ref(), password.as_ref())
            })?;
        *self = more;
        Ok(())
    }

    /// Whether nobody is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passwords.is_empty()
    }

    fn check(&self, given: &Credentials) -> Result<Identity, WrongCredentials> {
        let username = given.username.to_str().unwrap_or_default();
        let listed = self.passwords.get(username);
        // Somebody who is not listed is compared as well, with nothing gained.
        let right = listed.unwrap_or(&given.password) == &given.password;
        match listed {
            Some(_) if right => Ok(Identity::new(username)),
            _ => Err(WrongCredentials),
        }
    }
}

opaque_future! {
    /// The future of [`Users`].
    UsersFuture<> -> Result<Identity, WrongCredentials> = Ready<Result<Identity, WrongCredentials>>
}

impl Service<Attempt<Credentials>> for Users {
    type Response = Identity;
    type Error = WrongCredentials;
    type Future = UsersFuture;

    always_ready!();

    fn call(&mut self, attempt: Attempt<Credentials>) -> Self::Future {
        UsersFuture::new(ready(self.check(&attempt.credentials)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_what_rfc_1929_can_say() {
        let long = "x".repeat(256);
        let most = &long[1..];
        for (username, password, expected) in [
            ("joe", "", Some(UsersError::Empty)),
            ("", "secret", Some(UsersError::Empty)),
            ("joe", &long, Some(UsersError::TooLong)),
            (&long, "secret", Some(UsersError::TooLong)),
            (most, most, None),
            ("j", "s", None),
        ] {
            assert_eq!(Users::new().with(username, password).err(), expected);
        }
    }

    #[test]
    fn users_are_listed_all_or_none() {
        let pairs = |pairs: &[(&'static str, &'static str)]| pairs.to_vec();
        let mut users = Users::try_from_iter(pairs(&[("joe", "1"), ("ann", "2")])).unwrap();
        let clone = users.clone();

        users.try_extend([("joe".to_owned(), "3")]).unwrap();
        let error = users.try_extend(pairs(&[("bob", "4"), ("", "5")]));

        assert_eq!(error, Err(UsersError::Empty));
        let knows = |users: &Users, name, password| {
            let given = Credentials::new(name, password).unwrap();
            users.check(&given).is_ok()
        };
        assert!(knows(&users, "joe", "3") && knows(&users, "ann", "2"));
        assert!(!knows(&users, "bob", "4"));
        assert!(knows(&clone, "joe", "1") && !knows(&clone, "joe", "3"));
    }
}
