use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use socks_core::{
    Credentials, Encode,
    v5::{Method, PasswordReply, PasswordRequest},
};
use tokio::io::AsyncWriteExt;

use super::{Admitted, Attempt, AuthMethod, IntoAdmitted};
use crate::session::{BoxError, Negotiation, Work};

/// Username and password (RFC 1929), checked by the verifier `V`: a
/// `Service<Attempt, Response = Identity>`, or one that answers an [`Admitted`].
///
/// Either may be empty; the verifier decides. Both cross the network in clear:
/// on one that others can listen to, put TLS in front.
#[derive(Debug)]
pub struct UsernamePassword<V> {
    /// Locked while it is cloned, so that it need not be `Sync`.
    verifier: Mutex<V>,
}

impl<V> UsernamePassword<V>
where
    V: Work<Attempt<Credentials>, Response: IntoAdmitted>,
{
    /// Lets in whom `verifier` answers for.
    pub fn new(verifier: V) -> Self {
        Self {
            verifier: Mutex::new(verifier),
        }
    }
}

#[async_trait]
impl<V> AuthMethod for UsernamePassword<V>
where
    V: Work<Attempt<Credentials>, Response: IntoAdmitted>,
{
    fn code(&self) -> Method {
        Method::USERNAME_PASSWORD
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let request = client.read_message::<PasswordRequest>().await;
        let verdict = match request {
            Ok(PasswordRequest { credentials }) => {
                client.claim(&credentials.username);
                let session = client.session().for_work();
                let verifier = self.verifier.lock();
                let verifier = verifier.unwrap_or_else(PoisonError::into_inner).clone();
                verifier.run(Attempt::new(session, credentials)).await
            }
            Err(error) => Err(error.into()),
        };
        let reply = match verdict {
            Ok(_) => PasswordReply::SUCCESS,
            Err(_) => PasswordReply::FAILURE,
        };
        let told = client.write_all(&reply.to_bytes()).await;
        // Why it was refused says more than that nobody was left to hear it.
        let admitted = verdict?.into_admitted();
        told?;
        Ok(admitted)
    }
}
