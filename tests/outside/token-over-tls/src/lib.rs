//! A SOCKS5 proxy behind TLS, whose clients show a token.

use std::sync::Arc;

use socks_tower::{
    Admitted, AuthMethod, AuthenticateLayer, BoxError, Identity, Method, Negotiation, Password,
    Proxy, Rules, Socks5, Stream, async_trait,
    front::tls::{TlsLayer, rustls::ServerConfig},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceBuilder;

/// The method's code, of the private ones.
pub const BY_TOKEN: Method = Method(0x88);

/// The client sends a token, with its length in a byte before it, and hears a byte: 0 if it is
/// let in. A token is kept as a password, which compares in constant time.
pub struct ByToken(pub Vec<(Password, Identity)>);

#[async_trait]
impl AuthMethod for ByToken {
    fn code(&self) -> Method {
        BY_TOKEN
    }

    async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
        let mut token = vec![0; client.read_u8().await?.into()];
        client.read_exact(&mut token).await?;
        let token = Password::new(token)?;
        let known = self.0.iter().find(|(known, _)| *known == token);
        client.write_all(&[known.is_none().into()]).await?;
        let (_, identity) = known.ok_or("no such token")?;
        Ok(identity.clone().into())
    }
}

/// The proxy, which lets nobody in but by a token.
pub fn proxy<Io: Stream>(tls: ServerConfig, tokens: ByToken, rules: Rules) -> impl Proxy<Io> {
    let socks = Socks5::new()
        .with_auth(AuthenticateLayer::new(tokens))
        .with_rules(rules);
    ServiceBuilder::new()
        .layer(TlsLayer::new(Arc::new(tls)))
        .service(socks)
}
