use std::{
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use socks_core::Credentials;
use tower_service::Service;

use super::{Attempt, Users, UsersFuture, WrongCredentials};
use crate::session::{Identity, always_ready};

/// Users that can be replaced while they serve: a verifier, and the handle to it.
///
/// Clones share the users. An attempt is judged by those that stand when it
/// comes; whoever is in, stays in. The list of sessions ends the sessions of a
/// user who is gone, and keeps out those who were still negotiating (feature
/// `sessions`: `Sessions::ban`).
///
/// ```
/// use socks_tower::{AuthenticateLayer, ReloadUsers, Socks, Users};
///
/// /// A line for each user: `name:password`.
/// fn read(file: &str) -> Result<Users, socks_tower::UsersError> {
///     Users::try_from_iter(file.lines().filter_map(|line| line.split_once(':')))
/// }
///
/// let users = ReloadUsers::new(read("joe:secret\nann:s3cret\n")?);
/// let proxy = Socks::new().with_auth(AuthenticateLayer::password(users.clone()));
///
/// // Later, when the file has changed.
/// match read("ann:s3cret\n") {
///     Ok(new) => users.replace(new),
///     Err(error) => eprintln!("the old users stand: {error}"),
/// }
/// # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
/// # check(proxy);
/// # Ok::<(), socks_tower::UsersError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReloadUsers {
    current: Arc<RwLock<Users>>,
}

impl ReloadUsers {
    /// Begins with `users`.
    #[must_use]
    pub fn new(users: Users) -> Self {
        Self {
            current: Arc::new(RwLock::new(users)),
        }
    }

    /// Lets in `users`, and no others, from now on.
    pub fn replace(&self, users: Users) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let old = mem::replace(&mut *current, users);
        // To free them takes a while: let attempts in first.
        drop(current);
        drop(old);
    }

    /// The users that stand now.
    #[must_use]
    pub fn current(&self) -> Users {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl Service<Attempt<Credentials>> for ReloadUsers {
    type Response = Identity;
    type Error = WrongCredentials;
    type Future = UsersFuture;

    always_ready!();

    fn call(&mut self, attempt: Attempt<Credentials>) -> Self::Future {
        self.current().call(attempt)
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::session::Session;

    #[tokio::test]
    async fn attempts_are_judged_by_the_users_that_stand() {
        let users = ReloadUsers::new(Users::new().with("joe", "secret").unwrap());
        let clone = users.clone();
        let comes = async |name| {
            let credentials = Credentials::new(name, "secret").unwrap();
            let attempt = Attempt::new(Session::new(), credentials);
            clone.clone().oneshot(attempt).await.is_ok()
        };
        assert!(comes("joe").await);

        users.replace(Users::new().with("ann", "secret").unwrap());

        assert!(!comes("joe").await);
        assert!(comes("ann").await);
    }
}
