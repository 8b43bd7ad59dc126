use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use socks_core::{
    Encode, Username,
    v5::{
        Method,
        gssapi::{Message, MessageType},
    },
};
use tokio::io::AsyncWriteExt;

use super::{Principal, replays::Replays};
use crate::{
    session::{
        BoxError, Identity, Negotiation, Work,
        gssapi::{Acceptor, Context, Facts, Order, Protection, Steps, message, protect},
        threads::Asker,
    },
    stages::authenticate::{
        Admitted, Attempt, AuthMethod, IntoAdmitted,
        layer::{Verifier, erased},
    },
};

/// Contexts are set up by so many threads.
const THREADS: usize = 4;

/// MIT's, and so everybody's.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// No mechanism needs as many tokens of a client.
const MAX_TOKENS: usize = 8;

/// GSS-API (RFC 1961), the server's side. See the
/// [module's page](crate::stages::authenticate::gssapi).
pub struct GssApi {
    acceptor: Arc<dyn Acceptor>,
    steps: Steps,
    replays: Replays,
    verifier: Option<Verifier<Principal>>,
    least: Protection,
    takes: Takes,
}

/// What is taken that the RFC does not have.
#[derive(Clone, Copy, Debug, Default)]
struct Takes {
    unprotected: bool,
    downgrade: bool,
    nec: bool,
    unsequenced: bool,
    expired: bool,
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
enum NotAdmitted {
    #[error("a message of another kind than is awaited")]
    OutOfTurn,
    #[error("its first token is not one of Kerberos")]
    NotKerberos,
    #[error("it sends token after token")]
    Endless,
    #[error("its context tells no replayed message")]
    NoReplayDetection,
    #[error("anybody can have its name")]
    Anonymous,
    #[error("its level of protection is not one")]
    NoLevel,
    #[error("its level of protection is not wrapped")]
    Bare,
}

impl GssApi {
    /// Accepts clients by the keys of `service`, in the keytab: `rcmd@proxy.example`,
    /// or `rcmd` for whichever host there is a key of.
    ///
    /// # Errors
    ///
    /// If there is no such key, or the keytab cannot be read.
    #[cfg(any(feature = "gssapi", docsrs))]
    pub fn new(service: &str) -> Result<Self, crate::session::gssapi::GssApiError> {
        let acceptor = crate::session::gssapi::Krb5Acceptor::new(service)?;
        Ok(Self::with_acceptor(acceptor))
    }

    pub(crate) fn with_acceptor(acceptor: impl Acceptor) -> Self {
        Self {
            acceptor: Arc::new(acceptor),
            steps: Steps::new("socks-gssapi", THREADS),
            replays: Replays::new(CLOCK_SKEW),
            verifier: None,
            least: Protection::Integrity,
            takes: Takes::default(),
        }
    }

    /// Lets in whom `verifier` answers for, as whom it says. By default everybody with a
    /// ticket is let in, under its name with its realm.
    #[must_use]
    pub fn with_verifier<V>(mut self, verifier: V) -> Self
    where
        V: Work<Attempt<Principal>, Response: IntoAdmitted>,
    {
        self.verifier = Some(erased(verifier));
        self
    }

    /// The least protection of what follows: [`Protection::Integrity`], unless set. A
    /// client that asks for less is answered with this, and goes if that is too much for
    /// it. With [`Protection::Unprotected`] it is as if that were `Integrity`:
    /// [`allow_unprotected`](Self::allow_unprotected) says so in as many words.
    #[must_use]
    pub fn with_least(mut self, least: Protection) -> Self {
        self.least = least.max(Protection::Integrity);
        self
    }

    /// Lets in clients that ask for no protection at all (a level 0, which the RFC does
    /// not have). Given up: whoever is on the way can read all that follows, change it, and
    /// speak in the client's place.
    #[must_use]
    pub fn allow_unprotected(mut self) -> Self {
        self.takes.unprotected = true;
        self
    }

    /// Answers clients that ask for level 2 that there will be no protection: curl asks for
    /// it, speaks in clear, and goes on only if it is told so. Given up is what
    /// [`allow_unprotected`](Self::allow_unprotected) says, and those are not served who ask
    /// for level 2 and mean it: they leave upon this answer.
    #[must_use]
    pub fn allow_downgrade(mut self) -> Self {
        self.takes.downgrade = true;
        self
    }

    /// Lets in clients that say their level without wrapping it, as NEC's did, and answers
    /// them likewise. Given up: whoever is on the way can change what was asked for, and
    /// can replay a client's first token where the replay is not noticed otherwise.
    #[must_use]
    pub fn allow_nec(mut self) -> Self {
        self.takes.nec = true;
        self
    }

    /// Lets in clients whose context does not keep the order of messages
    /// (`GSS_C_SEQUENCE_FLAG`), for other commands than UDP ASSOCIATE too. Given up:
    /// whoever is on the way can leave messages out, and exchange them for each other.
    #[must_use]
    pub fn allow_unsequenced(mut self) -> Self {
        self.takes.unsequenced = true;
        self
    }

    /// Lets sessions go on when the client's ticket has expired. By default they end with
    /// it: nobody then knows any more whether the client would still get one.
    #[must_use]
    pub fn outlive_tickets(mut self) -> Self {
        self.takes.expired = true;
        self
    }

    /// By how much a client's clock may differ from ours, which is as long as its first
    /// token could be used by somebody else: 5 minutes unless set, as MIT has it. Set it as
    /// `clockskew` in `krb5.conf` is set, if that is. Tokens that have let somebody in are
    /// remembered for twice as long, a million of them at most, beyond which nobody is let
    /// in.
    #[must_use]
    pub fn with_clock_skew(mut self, skew: Duration) -> Self {
        self.replays = Replays::new(skew);
        self
    }

    /// How many contexts are set up at a time, each on a thread: 4 unless set. With 0,
    /// nobody is let in.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.steps = self.steps.with_threads(threads);
        self
    }

    async fn negotiate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let (mut context, last) = self.set_up(client).await?;
        let facts = context.facts()?;
        let admitted = self.admit(client, &facts).await?;
        // Now it may hear that it knows us, too.
        say(client, MessageType::Context, last).await?;

        let agreed = self.agree(client, &mut *context).await?;
        let admitted = admitted.with_extension(agreed);
        if agreed == Protection::Unprotected {
            return Ok(admitted);
        }
        let order = match facts.sequence || self.takes.unsequenced {
            true => Order::Fine,
            false => Order::UdpAlone { seen: 0 },
        };
        let lifetime = facts.lifetime.filter(|_| !self.takes.expired);
        let (wrap, datagrams) = protect(context, agreed.encrypts(), order, lifetime)?;
        Ok(admitted.with_wrap(wrap).with_datagrams(datagrams))
    }

    /// Sets up a context; gives it, and the last token, which the client has not been
    /// sent.
    async fn set_up(
        &self,
        client: &mut Negotiation<'_>,
    ) -> Result<(Box<dyn Context>, Vec<u8>), BoxError> {
        let asker = Asker::of(client.session());
        let mut context = self.acceptor.context();
        let mut unique = None;
        for _ in 0..MAX_TOKENS {
            let token = hear(client, MessageType::Context).await?;
            if unique.is_none() {
                // Nor does an empty token get to the library, which takes it for SPNEGO's.
                let own = self.acceptor.unique(&token);
                unique = Some(own.ok_or(NotAdmitted::NotKerberos)?.to_vec());
            }
            let (next, step) = self.steps.step(&asker, context, token).await?;
            if step.is_complete {
                self.replays.remember(&unique.unwrap_or_default())?;
                return Ok((next, step.token));
            }
            context = next;
            say(client, MessageType::Context, step.token).await?;
        }
        Err(NotAdmitted::Endless.into())
    }

    /// Whether whoever began the context is let in.
    async fn admit(
        &self,
        client: &mut Negotiation<'_>,
        facts: &Facts,
    ) -> Result<Admitted, BoxError> {
        if let Ok(name) = Username::new(facts.initiator.as_bytes()) {
            client.claim(&name);
        }
        if facts.anonymous {
            return Err(NotAdmitted::Anonymous.into());
        }
        if !facts.replay && !facts.sequence {
            return Err(NotAdmitted::NoReplayDetection.into());
        }
        let Some(verify) = &self.verifier else {
            return Ok(Identity::new(&*facts.initiator).into());
        };
        let session = client.session().for_work();
        let principal = Principal::new(&*facts.initiator);
        verify(Attempt::new(session, principal)).await
    }

    /// Agrees on a level.
    async fn agree(
        &self,
        client: &mut Negotiation<'_>,
        context: &mut dyn Context,
    ) -> Result<Protection, BoxError> {
        let mut token = hear(client, MessageType::ProtectionLevel).await?;
        let bare = token.len() == 1;
        if bare && !self.takes.nec {
            return Err(NotAdmitted::Bare.into());
        }
        if !bare {
            let unwrapped = context.unwrap(&mut token)?;
            token = token.get(unwrapped.range).unwrap_or_default().to_vec();
        }
        let &[level] = token.as_slice() else {
            return Err(NotAdmitted::NoLevel.into());
        };
        let agreed = self.level(level).ok_or(NotAdmitted::NoLevel)?;
        let answer = [agreed.level()];
        let mut token = Vec::new();
        match bare {
            true => token.extend(answer),
            false => context.wrap(false, &answer, &mut token)?,
        }
        say(client, MessageType::ProtectionLevel, token).await?;
        Ok(agreed)
    }

    /// What a client that asks for `level` is answered.
    fn level(&self, level: u8) -> Option<Protection> {
        let asked = match level {
            // It would choose for each message, and may well encrypt all of them.
            3 => Protection::Confidentiality,
            level => Protection::of_level(level)?,
        };
        Some(match asked {
            Protection::Confidentiality if self.takes.downgrade && level == 2 => {
                Protection::Unprotected
            }
            Protection::Unprotected if self.takes.unprotected => Protection::Unprotected,
            asked => asked.max(self.least),
        })
    }
}

#[async_trait]
impl AuthMethod for GssApi {
    fn code(&self) -> Method {
        Method::GSSAPI
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let admitted = self.negotiate(client).await;
        if admitted.is_err() {
            // Why it was refused says more than that nobody was left to hear it.
            let _ = client.write_all(&Message::Abort.to_bytes()).await;
        }
        admitted
    }
}

/// Reads the token of the next message, which must be of this type.
async fn hear(client: &mut Negotiation<'_>, awaited: MessageType) -> Result<Vec<u8>, BoxError> {
    match client.read_message().await? {
        Message::Token {
            message_type,
            token,
        } if message_type == awaited => Ok(token.into_bytes()),
        _ => Err(NotAdmitted::OutOfTurn.into()),
    }
}

async fn say(
    client: &mut Negotiation<'_>,
    message_type: MessageType,
    token: Vec<u8>,
) -> Result<(), BoxError> {
    client.write_all(&message(message_type, token)?).await?;
    Ok(())
}

impl fmt::Debug for GssApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GssApi")
            .field("least", &self.least)
            .field("takes", &self.takes)
            .field("verifies", &self.verifier.is_some())
            .finish_non_exhaustive()
    }
}
