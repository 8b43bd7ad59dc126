use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use socks_core::{Credentials, v4::UserId};
use tower_layer::Layer;

use super::{Attempt, AuthMethod, Authenticate, UsernamePassword};
use crate::session::{BoxError, Identity, Work};

type Verdict = Pin<Box<dyn Future<Output = Result<Identity, BoxError>> + Send>>;
type UserIdVerifier = Arc<dyn Fn(Attempt<UserId>) -> Verdict + Send + Sync>;

/// Lets clients in. See the [module's page](crate::stages::authenticate).
///
/// It has no type parameter: methods may differ, and their verifiers are
/// hidden behind them.
#[derive(Clone)]
pub struct AuthenticateLayer {
    pub(super) methods: Arc<Vec<Arc<dyn AuthMethod>>>,
    pub(super) user_ids: Option<UserIdVerifier>,
}

impl AuthenticateLayer {
    /// Clients authenticate by `method`.
    pub fn new(method: impl AuthMethod) -> Self {
        Self {
            methods: Arc::new(vec![Arc::new(method)]),
            user_ids: None,
        }
    }

    /// Clients authenticate by username and password, which `verifier` checks.
    ///
    /// Short for `new(UsernamePassword::new(verifier))`.
    pub fn password<V>(verifier: V) -> Self
    where
        V: Work<Attempt<Credentials>, Response = Identity>,
    {
        Self::new(UsernamePassword::new(verifier))
    }

    /// If a client does not offer the methods before, or may not use them,
    /// `method` will do. The server's order counts, not the client's.
    #[must_use]
    pub fn or(mut self, method: impl AuthMethod) -> Self {
        Arc::make_mut(&mut self.methods).push(Arc::new(method));
        self
    }

    /// SOCKS4 clients are judged by `verifier`, which sees the user id that
    /// they claim.
    ///
    /// Anybody can claim any user id: let the verifier go by where the client
    /// comes from, or ask that host's identd.
    #[must_use]
    pub fn with_user_ids<V>(mut self, verifier: V) -> Self
    where
        V: Work<Attempt<UserId>, Response = Identity>,
    {
        let verifier = Mutex::new(verifier);
        self.user_ids = Some(Arc::new(move |attempt| {
            let verifier = verifier.lock().unwrap_or_else(PoisonError::into_inner);
            Box::pin(verifier.clone().run(attempt))
        }));
        self
    }
}

impl fmt::Debug for AuthenticateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes = self.methods.iter().map(|method| method.code());
        f.debug_struct("AuthenticateLayer")
            .field("methods", &codes.collect::<Vec<_>>())
            .field("user_ids", &self.user_ids.is_some())
            .finish()
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate {
            config: self.clone(),
            inner,
        }
    }
}
