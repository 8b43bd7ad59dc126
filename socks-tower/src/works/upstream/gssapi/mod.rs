#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use socks_core::v5::{
    Command, Method,
    gssapi::{Message, MessageType},
};
use tokio::io::AsyncWriteExt;

use super::{Authenticated, ClientMethod, ProxyNegotiation};
use crate::session::{
    BoxError, Session,
    gssapi::{Context, Initiator, Order, Protection, Steps, Wanted, message, protect},
    threads::Asker,
};

/// Contexts are set up by so many threads; one waits for the KDC while there is no ticket
/// yet.
const THREADS: usize = 8;

/// No mechanism needs as many tokens of a server.
const MAX_TOKENS: usize = 8;

/// GSS-API (RFC 1961), the client's side: shows a proxy who we are by Kerberos, and has
/// what follows protected.
///
/// It goes by the tickets that there are when it is used, and obtains one for the proxy.
/// The page of [`GssApi`](crate::stages::authenticate::gssapi), which is the server's side,
/// has an example, and says which files the system's library reads.
#[derive(Clone)]
pub struct GssApiClient {
    initiator: Arc<dyn Initiator>,
    steps: Arc<Steps>,
    wanted: Protection,
    least: Protection,
    delegation: bool,
}

/// Why the proxy is not trusted.
#[derive(Debug, thiserror::Error)]
enum NotTrusted {
    #[error("the proxy refused our ticket")]
    Refused,
    #[error("the proxy sent a message of another kind than is awaited")]
    OutOfTurn,
    #[error("the proxy sends token after token")]
    Endless,
    #[error("the proxy has not shown who it is")]
    NotMutual,
    #[error("the proxy protects what follows by less than we want")]
    TooLittle,
}

impl GssApiClient {
    /// To a proxy whose service is called `service` by the KDC: `rcmd@proxy.example`,
    /// whatever name or address it is reached by.
    ///
    /// # Errors
    ///
    /// If that is no such name.
    #[cfg(any(feature = "gssapi", docsrs))]
    pub fn new(service: &str) -> Result<Self, crate::session::gssapi::GssApiError> {
        let initiator = crate::session::gssapi::Krb5Initiator::new(service)?;
        Ok(Self::with_initiator(initiator))
    }

    pub(crate) fn with_initiator(initiator: impl Initiator) -> Self {
        Self {
            initiator: Arc::new(initiator),
            steps: Arc::new(Steps::new("socks-gssapi", THREADS)),
            wanted: Protection::Confidentiality,
            least: Protection::Integrity,
            delegation: false,
        }
    }

    /// The protection that is asked for: [`Protection::Confidentiality`] unless set. With
    /// [`Protection::Unprotected`] the proxy may still answer that there will be some.
    #[must_use]
    pub fn with_protection(mut self, wanted: Protection) -> Self {
        self.wanted = wanted;
        self
    }

    /// The least protection that a proxy may answer: [`Protection::Integrity`] unless set.
    /// With [`Protection::Unprotected`], whoever is on the way may be able to read all that
    /// follows, change it, and speak in our place.
    #[must_use]
    pub fn with_least(mut self, least: Protection) -> Self {
        self.least = least;
        self
    }

    /// Hands the proxy our ticket, if the KDC lets it: it can do from then on whatever we
    /// can. Off unless asked for.
    #[must_use]
    pub fn with_delegation(mut self) -> Self {
        self.delegation = true;
        self
    }

    /// Sets up a context.
    async fn set_up(&self, proxy: &mut ProxyNegotiation<'_>) -> Result<Box<dyn Context>, BoxError> {
        let wanted = Wanted {
            // Datagrams come in any order (RFC 1961 section 3).
            sequence: proxy.command() != Command::UDP_ASSOCIATE,
            delegation: self.delegation,
        };
        // All of ours are one: nobody here knows on whose behalf we ask.
        let asker = Asker::of(&Session::new());
        let mut context = self.initiator.context(wanted)?;
        let mut heard = Vec::new();
        for _ in 0..MAX_TOKENS {
            let (next, step) = self.steps.step(&asker, context, heard).await?;
            context = next;
            if step.is_complete && step.token.is_empty() {
                return Ok(context);
            }
            say(proxy, MessageType::Context, step.token).await?;
            heard = hear(proxy, MessageType::Context).await?;
            if step.is_complete {
                return Ok(context);
            }
        }
        Err(NotTrusted::Endless.into())
    }

    /// Agrees on a level.
    async fn agree(
        &self,
        proxy: &mut ProxyNegotiation<'_>,
        context: &mut dyn Context,
    ) -> Result<Protection, BoxError> {
        let mut token = Vec::new();
        context.wrap(false, &[self.wanted.level()], &mut token)?;
        say(proxy, MessageType::ProtectionLevel, token).await?;
        let mut token = hear(proxy, MessageType::ProtectionLevel).await?;
        let range = context.unwrap(&mut token)?.range;
        let agreed = match token.get(range) {
            Some(&[level]) => Protection::of_level(level),
            _ => None,
        };
        let agreed = agreed.filter(|agreed| *agreed >= self.least);
        Ok(agreed.ok_or(NotTrusted::TooLittle)?)
    }
}

#[async_trait]
impl ClientMethod for GssApiClient {
    fn code(&self) -> Method {
        Method::GSSAPI
    }

    async fn authenticate(
        &self,
        proxy: &mut ProxyNegotiation<'_>,
    ) -> Result<Authenticated, BoxError> {
        let mut context = self.set_up(proxy).await?;
        if !context.facts()?.mutual {
            return Err(NotTrusted::NotMutual.into());
        }
        let agreed = self.agree(proxy, &mut *context).await?;
        if agreed == Protection::Unprotected {
            return Ok(Authenticated::new());
        }
        let (wrap, datagrams) = protect(context, agreed.encrypts(), Order::Fine, None)?;
        Ok(Authenticated::new()
            .with_wrap(wrap)
            .with_datagrams(datagrams))
    }
}

/// Reads the token of the next message, which must be of this type.
async fn hear(proxy: &mut ProxyNegotiation<'_>, awaited: MessageType) -> Result<Vec<u8>, BoxError> {
    match proxy.read_message().await? {
        Message::Token {
            message_type,
            token,
        } if message_type == awaited => Ok(token.into_bytes()),
        Message::Token { .. } => Err(NotTrusted::OutOfTurn.into()),
        Message::Abort => Err(NotTrusted::Refused.into()),
    }
}

async fn say(
    proxy: &mut ProxyNegotiation<'_>,
    message_type: MessageType,
    token: Vec<u8>,
) -> Result<(), BoxError> {
    proxy.write_all(&message(message_type, token)?).await?;
    Ok(())
}

impl fmt::Debug for GssApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GssApiClient")
            .field("wanted", &self.wanted)
            .field("least", &self.least)
            .field("delegation", &self.delegation)
            .finish_non_exhaustive()
    }
}
