use socks_core::server::{Event, Server};
use tokio::time::timeout_at;
use tower_service::Service;

use super::HandshakeLayer;
use crate::{
    Accepted, Error, ErrorKind, Greeted, Stage, StageFuture, Stream,
    client::dismiss,
    negotiation::{ReceiveError, receive},
    stage::{always_ready, opaque_future},
    states::Offer,
};

/// Reads the client's greeting, then goes on to `S`. See the
/// [module's page](crate::handshake).
#[derive(Clone, Debug)]
pub struct Handshake<S> {
    pub(super) config: HandshakeLayer,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Handshake`].
    HandshakeFuture<F> = StageFuture<F>
}

impl<Io, S> Service<Accepted<Io>> for Handshake<S>
where
    Io: Stream,
    S: Stage<Greeted<Io>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = HandshakeFuture<S::Future>;

    always_ready!();

    fn call(&mut self, accepted: Accepted<Io>) -> Self::Future {
        let own = handshake(self.config.clone(), accepted);
        HandshakeFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

async fn handshake<Io: Stream>(
    config: HandshakeLayer,
    accepted: Accepted<Io>,
) -> Result<Greeted<Io>, Error> {
    let Accepted {
        mut io,
        mut buffered,
        mut session,
        accepted_at,
    } = accepted;
    let deadline = accepted_at + config.timeout;
    let mut server = Server::new(config.versions);

    let received = receive(&mut io, &mut buffered, |input| server.receive(input));
    let event = match timeout_at(deadline, received).await {
        Ok(Ok(event)) => event,
        Ok(Err(ReceiveError::Io(error))) => return Err(Error::client(error)),
        Ok(Err(ReceiveError::Invalid(error))) => {
            let mut answer = Vec::new();
            server.answer(&error, &mut answer);
            dismiss(&mut io, &answer).await;
            return Err(Error::new(ErrorKind::Protocol, error));
        }
        Err(elapsed) => return Err(Error::new(ErrorKind::Deadline, elapsed)),
    };
    let offer = match event {
        Event::Greeting(greeting) => {
            session.version = Some(socks_core::server::Version::V5);
            Offer::Methods(greeting)
        }
        Event::Request(request) => {
            session.version = Some(request.version);
            session.user_id.clone_from(&request.user_id);
            Offer::Request(request)
        }
        other => return Err(unexpected(&other)),
    };
    Ok(Greeted {
        io,
        session,
        buffered,
        server,
        offer,
        deadline,
        hook: config.hook,
    })
}

/// The core may learn events that this stage does not know.
pub(crate) fn unexpected(event: &Event) -> Error {
    Error::new(ErrorKind::Protocol, format!("unexpected {event:?}"))
}
