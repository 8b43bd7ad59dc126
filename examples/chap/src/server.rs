//! The proxy's side: a method, and the verifier that it asks.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use socks_tower::{
    Admitted, Attempt, AuthMethod, BoxError, Encode, Identity, Method, Negotiation, Password,
    Username, Work, WrongCredentials, async_trait,
};
use tokio::io::AsyncWriteExt;
use tower::Service;

use crate::message::{ALGORITHMS, CHALLENGE, HMAC_MD5, Message, RESPONSE, STATUS, USER_IDENTITY};

/// As long as HMAC-MD5's answer.
pub type Challenge = [u8; 16];

/// Under the secret, which both know and neither says.
pub fn answer(secret: &Password, challenge: &[u8]) -> Result<Hmac<Md5>, BoxError> {
    let mut mac = Hmac::<Md5>::new_from_slice(secret.as_bytes())?;
    mac.update(challenge);
    Ok(mac)
}

/// What a client claims: that it knows the secret of `user`.
pub struct Proof {
    user: Username,
    challenge: Challenge,
    response: Vec<u8>,
    /// What the client wants answered, if it asks whether *we* know the secret.
    counter: Option<Vec<u8>>,
}

/// It does.
pub struct Proven {
    identity: Identity,
    /// And so do we.
    response: Option<Challenge>,
}

/// CHAP for SOCKS5, method 3. Whether the proof is right, `V` says: a service like any
/// other, and a `LockoutLayer` may stand around it.
pub struct Chap<V> {
    verifier: V,
}

impl<V> Chap<V>
where
    V: Work<Attempt<Proof>, Response = Proven> + Sync,
{
    pub fn new(verifier: V) -> Self {
        Self { verifier }
    }

    async fn negotiate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let hello = client.read_message::<Message>().await?;
        let algorithms = hello.get(ALGORITHMS).unwrap_or_default();
        if !algorithms.contains(&HMAC_MD5) {
            return Err("the client has no HMAC-MD5".into());
        }
        let mut challenge = Challenge::default();
        getrandom::fill(&mut challenge)?;
        let asks = Message::new()
            .with(ALGORITHMS, &[HMAC_MD5])
            .with(CHALLENGE, &challenge);
        client.write_all(&asks.to_bytes()).await?;

        let answers = client.read_message::<Message>().await?;
        // Some say who they are at once.
        let user = answers.get(USER_IDENTITY).or(hello.get(USER_IDENTITY));
        let user = Username::new(user.ok_or("the client does not say who it is")?)?;
        client.claim(&user);
        let proof = Proof {
            user,
            challenge,
            response: answers.get(RESPONSE).unwrap_or_default().to_vec(),
            counter: answers.get(CHALLENGE).map(<[u8]>::to_vec),
        };
        let attempt = Attempt::new(client.session().clone(), proof);
        let proven = self.verifier.clone().run(attempt).await?;

        let welcome = Message::status(true);
        let Some(response) = proven.response else {
            client.write_all(&welcome.to_bytes()).await?;
            return Ok(proven.identity.into());
        };
        let welcome = welcome.with(RESPONSE, &response);
        client.write_all(&welcome.to_bytes()).await?;
        match client.read_message::<Message>().await?.get(STATUS) {
            Some([0]) => Ok(proven.identity.into()),
            _ => Err("the client does not believe us".into()),
        }
    }
}

#[async_trait]
impl<V> AuthMethod for Chap<V>
where
    V: Work<Attempt<Proof>, Response = Proven> + Sync,
{
    fn code(&self) -> Method {
        Method::CHAP
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let admitted = self.negotiate(client).await;
        if admitted.is_err() {
            // Whatever it was. Who is gone does not hear it.
            let _ = client.write_all(&Message::status(false).to_bytes()).await;
        }
        admitted
    }
}

/// The verifier: who has which secret. CHAP needs secrets as they are, no hash will do.
#[derive(Clone)]
pub struct Secrets {
    secrets: Arc<HashMap<String, Password>>,
    /// Stands in for those who are not listed, or the time would tell who is.
    nobody: Password,
}

impl Secrets {
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BoxError> {
        let secrets = secrets.into_iter().map(|(name, secret)| {
            // With an empty one anybody could answer.
            let secret = Some(secret).filter(|it| !it.is_empty());
            Ok((
                name.to_owned(),
                Password::new(secret.ok_or("empty secret")?)?,
            ))
        });
        let mut nobody = [0; 32];
        getrandom::fill(&mut nobody)?;
        Ok(Self {
            secrets: Arc::new(secrets.collect::<Result<_, BoxError>>()?),
            nobody: Password::new(nobody)?,
        })
    }

    fn check(&self, proof: &Proof) -> Result<Proven, BoxError> {
        let name = proof.user.to_str().unwrap_or_default();
        let secret = self.secrets.get(name).unwrap_or(&self.nobody);
        // In constant time.
        let right = answer(secret, &proof.challenge)?.verify_slice(&proof.response);
        right.map_err(|_| WrongCredentials::new())?;
        let response = match &proof.counter {
            Some(counter) => Some(answer(secret, counter)?.finalize().into_bytes().into()),
            None => None,
        };
        Ok(Proven {
            identity: Identity::new(name),
            response,
        })
    }
}

impl Service<Attempt<Proof>> for Secrets {
    type Response = Proven;
    type Error = BoxError;
    type Future = Ready<Result<Proven, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt<Proof>) -> Self::Future {
        ready(self.check(&attempt.credentials))
    }
}
