//! The client's side, for a `Socks5Connector`.

use hmac::Mac;
use socks_tower::{
    BoxError, Encode, Method, Password, Username, async_trait,
    works::upstream::{Authenticated, ClientMethod, ProxyNegotiation},
};
use tokio::io::AsyncWriteExt;

use crate::{
    message::{ALGORITHMS, CHALLENGE, HMAC_MD5, Message, RESPONSE, USER_IDENTITY},
    server::{Challenge, answer},
};

/// Knows a secret, and tells it to nobody.
pub struct ChapClient {
    user: Username,
    secret: Password,
    is_mutual: bool,
}

impl ChapClient {
    pub fn new(user: &str, secret: &str) -> Result<Self, BoxError> {
        Ok(Self {
            user: Username::new(user)?,
            secret: Password::new(secret)?,
            is_mutual: false,
        })
    }

    /// The proxy has to know the secret, too.
    pub fn mutual(mut self) -> Self {
        self.is_mutual = true;
        self
    }
}

#[async_trait]
impl ClientMethod for ChapClient {
    fn code(&self) -> Method {
        Method::CHAP
    }

    async fn authenticate(
        &self,
        proxy: &mut ProxyNegotiation<'_>,
    ) -> Result<Authenticated, BoxError> {
        let hello = Message::new().with(ALGORITHMS, &[HMAC_MD5]);
        say(proxy, &hello).await?;

        let mut asks = hear(proxy).await?;
        if asks.get(ALGORITHMS) != Some(&[HMAC_MD5]) {
            return Err("the proxy does not choose HMAC-MD5".into());
        }
        // The draft has its challenge in a message of its own.
        if asks.get(CHALLENGE).is_none() {
            asks = hear(proxy).await?;
        }
        let challenge = asks.get(CHALLENGE).ok_or("the proxy asks nothing")?;
        let response = answer(&self.secret, challenge)?.finalize().into_bytes();
        let answers = Message::new()
            .with(USER_IDENTITY, self.user.as_bytes())
            .with(RESPONSE, &response);
        if !self.is_mutual {
            say(proxy, &answers).await?;
            return match hear(proxy).await?.is_good() {
                Some(true) => Ok(Authenticated::new()),
                _ => Err("the proxy says nothing of it".into()),
            };
        }

        let mut counter = Challenge::default();
        getrandom::fill(&mut counter)?;
        say(proxy, &answers.with(CHALLENGE, &counter)).await?;
        let welcome = hear(proxy).await?;
        let response = welcome.get(RESPONSE).unwrap_or_default();
        let known = answer(&self.secret, &counter)?.verify_slice(response);
        let is_good = welcome.is_good() == Some(true) && known.is_ok();
        say(proxy, &Message::status(is_good)).await?;
        match is_good {
            true => Ok(Authenticated::new()),
            false => Err("the proxy does not know the secret".into()),
        }
    }
}

async fn say(proxy: &mut ProxyNegotiation<'_>, message: &Message) -> Result<(), BoxError> {
    Ok(proxy.write_all(&message.to_bytes()).await?)
}

/// Reads a message, which is an error if it refuses.
async fn hear(proxy: &mut ProxyNegotiation<'_>) -> Result<Message, BoxError> {
    let message = proxy.read_message::<Message>().await?;
    match message.is_good() {
        Some(false) => Err("the proxy refuses".into()),
        _ => Ok(message),
    }
}
