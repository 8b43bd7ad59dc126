use std::sync::Arc;

use socks_core::{Credentials, Username};
use tower_service::Service;

use super::{Admitted, Attempt, IntoAdmitted};
use crate::session::{BoxError, BoxWork, NameSuffix, Work, always_ready, opaque_future};

/// A verifier that lets users write something behind their names: `joe-session-abc`
/// is Joe, with Joe's password.
///
/// The verifier `V` is asked about what stands in front of the mark. What stands behind
/// it goes into the session's extensions as a [`NameSuffix`], by which a pool of
/// upstream proxies keeps to one of them; to rules, limits and quotas the user is the
/// same with it or without. A name without the mark, or with nothing before or behind
/// it, is asked about as it is.
///
/// ```
/// use socks_tower::{
///     AuthenticateLayer, Request, Users,
///     session::NameSuffix,
///     stages::authenticate::SplitName,
/// };
///
/// let users = Users::new().with("joe", "secret")?;
/// let layer = AuthenticateLayer::password(SplitName::new("-session-", users));
///
/// // Further in:
/// fn suffix(request: &Request) -> Option<&str> {
///     let suffix = request.session.extensions.get::<NameSuffix>()?;
///     Some(suffix.as_str())
/// }
/// # Ok::<(), socks_tower::BoxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SplitName<V> {
    mark: Arc<str>,
    verifier: V,
}

impl<V> SplitName<V> {
    /// Splits names at the first `mark`, and asks `verifier` about what stands before.
    pub fn new(mark: impl Into<Arc<str>>, verifier: V) -> Self {
        Self {
            mark: mark.into(),
            verifier,
        }
    }

    fn split(&self, username: &Username) -> Option<(Username, NameSuffix)> {
        let (name, suffix) = username.to_str()?.split_once(&*self.mark)?;
        let is_split = !name.is_empty() && !suffix.is_empty();
        is_split.then(|| Some((Username::new(name).ok()?, NameSuffix::new(suffix))))?
    }
}

opaque_future! {
    /// The future of [`SplitName`].
    SplitNameFuture<> -> Result<Admitted, BoxError> = BoxWork<Admitted>
}

impl<V> Service<Attempt<Credentials>> for SplitName<V>
where
    V: Work<Attempt<Credentials>, Response: IntoAdmitted>,
{
    type Response = Admitted;
    type Error = BoxError;
    type Future = SplitNameFuture;

    always_ready!();

    fn call(&mut self, mut attempt: Attempt<Credentials>) -> Self::Future {
        let verifier = self.verifier.clone();
        let suffix = self.split(&attempt.credentials.username);
        let suffix = suffix.map(|(name, suffix)| {
            attempt.credentials.username = name;
            suffix
        });
        SplitNameFuture::new(Box::pin(async move {
            let admitted = verifier.run(attempt).await?.into_admitted();
            Ok(match suffix {
                Some(suffix) => admitted.with_extension(suffix),
                None => admitted,
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use socks_core::v5::Method;

    use super::*;
    use crate::{
        session::{Identity, Session},
        stages::authenticate::Users,
    };

    /// What is known of a client that gives this name, with the password `good`.
    async fn admitted(username: &[u8]) -> Option<Session> {
        let users = Users::new().with("joe", "good").unwrap();
        let users = users.with("-session-", "good").unwrap();
        let given = Credentials::new(username, "good").unwrap();
        let verifier = SplitName::new("-session-", users);
        let admitted = verifier.run(Attempt::new(Session::new(), given)).await;
        let mut session = Session::new();
        let by = Method::USERNAME_PASSWORD.into();
        let (io, _) = tokio::io::duplex(1);
        admitted.ok()?.enter(by, &mut session, &mut vec![], io);
        Some(session)
    }

    #[tokio::test]
    async fn what_stands_behind_the_first_mark_is_the_suffix() {
        for (username, name, suffix) in [
            ("joe", "joe", None),
            ("joe-session-abc", "joe", Some("abc")),
            ("joe-session-a-session-b", "joe", Some("a-session-b")),
            ("-session-", "-session-", None),
        ] {
            let session = admitted(username.as_bytes()).await.unwrap();
            let identity = session.identity.as_ref().map(Identity::as_str);
            let found = session.extensions.get().map(NameSuffix::as_str);
            assert_eq!((identity, found), (Some(name), suffix), "{username}");
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_refused_with_its_suffix_too() {
        for username in ["ann-session-abc", "joe-session-", "-session-abc", "joe-abc"] {
            assert!(admitted(username.as_bytes()).await.is_none(), "{username}");
        }
        assert!(admitted(b"joe\xff-session-abc").await.is_none());
    }
}
