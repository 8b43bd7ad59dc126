use std::{future::Future, io, pin::Pin};

use redis::{AsyncConnectionConfig, PushInfo, aio::MultiplexedConnection};
use tokio::net::TcpStream;

use super::{
    Unanswered,
    url::{Addr, Place},
};
use crate::session::BoxStream;

/// Carries what is asked and answered, until the connection ends.
pub(super) type Carrying = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many questions wait for the socket before who asks waits, too.
const QUEUE: usize = 1024;

/// Connects and logs in. What is published is `heard`.
pub(super) async fn connect(
    place: &Place,
    heard: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<(MultiplexedConnection, Carrying), Unanswered> {
    let stream = stream(place).await;
    let stream = stream.map_err(|error| Unanswered::Lost(error.to_string()))?;
    let config = AsyncConnectionConfig::new()
        .set_pipeline_buffer_size(QUEUE)
        .set_response_timeout(None)
        .set_push_sender(move |info| {
            heard(info);
            Ok::<_, ()>(())
        });
    let (connection, carrying) =
        MultiplexedConnection::new_with_config(&place.login, stream, config).await?;
    Ok((connection, Box::pin(carrying)))
}

async fn stream(place: &Place) -> io::Result<BoxStream> {
    match &place.addr {
        Addr::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            #[cfg(feature = "tls")]
            if let Some(config) = &place.tls {
                use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let connector = TlsConnector::from(std::sync::Arc::clone(config));
                return Ok(BoxStream::new(connector.connect(name, stream).await?));
            }
            Ok(BoxStream::new(stream))
        }
        #[cfg(unix)]
        Addr::Unix(path) => Ok(BoxStream::new(tokio::net::UnixStream::connect(path).await?)),
    }
}
