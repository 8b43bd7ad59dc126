//! The verifier: a bind (RFC 4513 section 5.1.3) with what the client says.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ldap3::{LdapConnAsync, LdapError, dn_escape, drive};
use socks_tower::{Attempt, BoxError, Credentials, Identity, WrongCredentials};
use tower::Service;

/// LDAP's answer to a wrong password, and to a name that is not there.
const INVALID_CREDENTIALS: u32 = 49;

/// A directory, in which a user is found by name.
#[derive(Clone)]
pub struct Directory {
    url: Arc<str>,
    /// What stands before and behind the name.
    dn: Arc<(String, String)>,
}

impl Directory {
    /// The users are the entries `dn`, in which `{}` stands for a name.
    pub fn new(url: &str, dn: &str) -> Option<Self> {
        let (before, behind) = dn.split_once("{}")?;
        Some(Self {
            url: url.into(),
            dn: Arc::new((before.to_owned(), behind.to_owned())),
        })
    }

    async fn check(self, credentials: Credentials) -> Result<Identity, BoxError> {
        let name = credentials.username.to_str().unwrap_or_default();
        let password = std::str::from_utf8(credentials.password.as_bytes()).unwrap_or_default();
        // To a bind without a password a directory says yes, whoever it is for (RFC 4513
        // section 5.1.2).
        if !is_plain(name) || password.is_empty() {
            return Err(WrongCredentials::new().into());
        }
        // All but a no is the directory's trouble.
        match self.bind(name, password).await.map_err(io::Error::other)? {
            0 => Ok(Identity::new(name)),
            INVALID_CREDENTIALS => Err(WrongCredentials::new().into()),
            other => Err(io::Error::other(format!("the directory says {other}")).into()),
        }
    }

    /// The directory's result code.
    async fn bind(&self, name: &str, password: &str) -> Result<u32, LdapError> {
        let (connection, mut ldap) = LdapConnAsync::new(&self.url).await?;
        drive!(connection);
        let (before, behind) = &*self.dn;
        let dn = format!("{before}{}{behind}", dn_escape(name));
        let code = ldap.simple_bind(&dn, password).await?.rc;
        ldap.unbind().await?;
        Ok(code)
    }
}

/// A directory finds `joe` by `JOE` and ` joe`, too. To limits and rules these were others.
fn is_plain(name: &str) -> bool {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    !name.is_empty() && name.bytes().all(is_plain)
}

impl Service<Attempt> for Directory {
    type Response = Identity;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Identity, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().check(attempt.credentials))
    }
}
