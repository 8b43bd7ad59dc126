use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use socks_core::{Credentials, v4::UserId};
use tower_layer::Layer;

use super::{Admitted, Attempt, AuthMethod, Authenticate, IntoAdmitted, UsernamePassword};
use crate::session::{BoxWork, Work};

/// Any verifier of claims `C`.
pub(in crate::stages) type Verifier<C> = Arc<dyn Fn(Attempt<C>) -> BoxWork<Admitted> + Send + Sync>;

/// Lets clients in. See the [module's page](crate::stages::authenticate).
///
/// It has no type parameter: methods may differ, and their verifiers are
/// hidden behind them.
#[derive(Clone)]
pub struct AuthenticateLayer {
    pub(super) methods: Arc<Vec<Arc<dyn AuthMethod>>>,
    pub(super) user_ids: Option<Verifier<UserId>>,
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
        V: Work<Attempt<Credentials>, Response: IntoAdmitted>,
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
        V: Work<Attempt<UserId>, Response: IntoAdmitted>,
    {
        self.user_ids = Some(erased(verifier));
        self
    }
}

/// Hides what the verifier is.
pub(in crate::stages) fn erased<C, V>(verifier: V) -> Verifier<C>
where
    C: Send + 'static,
    V: Work<Attempt<C>, Response: IntoAdmitted>,
{
    // Locked to be cloned: no work need be `Sync`.
    let verifier = Mutex::new(verifier);
    Arc::new(move |attempt| {
        let verifier = verifier.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = verifier.clone().run(attempt);
        Box::pin(async { Ok(verdict.await?.into_admitted()) })
    })
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
