use std::{mem, sync::Arc};

use socks_core::{
    server::{self, Event, Version},
    v4::UserId,
    v5::Method,
};
use tokio::{io::AsyncWriteExt, time::timeout_at};
use tower_service::Service;
use tracing::Span;

use super::{Attempt, AuthMethod, AuthenticateLayer};
use crate::{
    Client, ClientStream, Error, ErrorKind, Greeted, Identity, Negotiation, Request, Requested,
    Session, Stage, StageFuture, Stream,
    client::dismiss,
    handshake::unexpected,
    negotiation::{ReceiveError, receive},
    stage::{always_ready, opaque_future},
    states::Offer,
    stream::Rewind,
    trace,
};

/// Lets the client in and reads its request, then goes on to `S`. See the
/// [module's page](crate::authenticate).
#[derive(Clone, Debug)]
pub struct Authenticate<S> {
    pub(super) config: AuthenticateLayer,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Authenticate`].
    AuthenticateFuture<F> = StageFuture<F>
}

impl<Io, S> Service<Greeted<Io>> for Authenticate<S>
where
    Io: Stream,
    S: Stage<Requested<ClientStream<Io>>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = AuthenticateFuture<S::Future>;

    always_ready!();

    fn call(&mut self, greeted: Greeted<Io>) -> Self::Future {
        let config = self.config.clone();
        let own = async move {
            let deadline = greeted.deadline;
            let requested = match timeout_at(deadline, authenticate(config, greeted)).await {
                Ok(requested) => requested?,
                Err(elapsed) => return Err(Error::new(ErrorKind::Deadline, elapsed)),
            };
            trace::requested(&Span::current(), &requested.request);
            Ok(requested)
        };
        AuthenticateFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

async fn authenticate<Io: Stream>(
    config: AuthenticateLayer,
    greeted: Greeted<Io>,
) -> Result<Requested<ClientStream<Io>>, Error> {
    match &greeted.offer {
        Offer::Methods(greeting) => {
            let usable = |method: &&Arc<dyn AuthMethod>| {
                greeting.offers(method.code()) && method.offered_to(&greeted.session)
            };
            let method = config.methods.iter().find(usable).cloned();
            socks5(method, greeted).await
        }
        Offer::Request(request) => {
            let request = request.clone();
            socks4(&config, greeted, request).await
        }
    }
}

/// Why a client is not let in, where no verifier said so.
#[derive(Debug, thiserror::Error)]
enum NotAdmitted {
    #[error("the client offers no method that will do")]
    NoMethod,
    #[error("SOCKS4 cannot authenticate")]
    Socks4,
}

async fn socks5<Io: Stream>(
    method: Option<Arc<dyn AuthMethod>>,
    greeted: Greeted<Io>,
) -> Result<Requested<ClientStream<Io>>, Error> {
    let Greeted {
        mut io,
        mut session,
        mut buffered,
        mut server,
        hook,
        ..
    } = greeted;
    let mut answer = Vec::with_capacity(2);
    let Some(method) = method else {
        server.refuse_methods(&mut answer).map_err(protocol)?;
        dismiss(&mut io, &answer).await;
        return Err(Error::new(ErrorKind::Authentication, NotAdmitted::NoMethod));
    };
    server
        .select(method.code(), &mut answer)
        .map_err(protocol)?;
    io.write_all(&answer).await.map_err(Error::client)?;
    io.flush().await.map_err(Error::client)?;

    let mut negotiation = Negotiation::new(&session, &mut buffered, &mut io);
    let admitted = match method.authenticate(&mut negotiation).await {
        Ok(admitted) => admitted,
        Err(error) => {
            // The method has said its word; see that it arrives.
            dismiss(&mut io, &[]).await;
            return Err(Error::of_work(ErrorKind::Authentication, error));
        }
    };
    session.identity = admitted.identity;
    let mut io = match admitted.wrap {
        None => ClientStream::Plain(io),
        Some(wrap) => {
            let beneath = Rewind::new(mem::take(&mut buffered), io);
            ClientStream::Wrapped(wrap(Box::new(beneath)))
        }
    };
    server.authenticated().map_err(protocol)?;

    let received = receive(&mut io, &mut buffered, |input| server.receive(input));
    let request = match received.await {
        Ok(Event::Request(request)) => request,
        Ok(other) => return Err(unexpected(&other)),
        Err(ReceiveError::Io(error)) => return Err(Error::client(error)),
        Err(ReceiveError::Invalid(error)) => {
            answer.clear();
            server.answer(&error, &mut answer);
            dismiss(&mut io, &answer).await;
            return Err(protocol(error));
        }
    };
    Ok(Requested {
        client: Client::new(io, buffered, &Version::V5).with_hook(hook),
        request: Request::new(session, request.command, request.target),
    })
}

async fn socks4<Io: Stream>(
    config: &AuthenticateLayer,
    greeted: Greeted<Io>,
    request: server::Request,
) -> Result<Requested<ClientStream<Io>>, Error> {
    let Greeted {
        io,
        mut session,
        buffered,
        hook,
        ..
    } = greeted;
    let io = ClientStream::Plain(io);
    let client = Client::new(io, buffered, &Version::V4).with_hook(hook);
    match admit_socks4(config, &session, request.user_id).await {
        Ok(identity) => session.identity = identity,
        Err(error) => return Err(client.refuse(error).await),
    }
    Ok(Requested {
        client,
        request: Request::new(session, request.command, request.target),
    })
}

async fn admit_socks4(
    config: &AuthenticateLayer,
    session: &Session,
    user_id: Option<UserId>,
) -> Result<Option<Identity>, Error> {
    if let Some(verify) = &config.user_ids {
        let attempt = Attempt {
            session: session.clone(),
            credentials: user_id.unwrap_or_default(),
        };
        let verdict = verify(attempt).await;
        return match verdict {
            Ok(identity) => Ok(Some(identity)),
            Err(error) => Err(Error::of_work(ErrorKind::Authentication, error)),
        };
    }
    let open =
        |method: &Arc<dyn AuthMethod>| method.code() == Method::NONE && method.offered_to(session);
    if config.methods.iter().any(open) {
        return Ok(None);
    }
    Err(Error::new(ErrorKind::Authentication, NotAdmitted::Socks4))
}

fn protocol(error: server::Error) -> Error {
    Error::new(ErrorKind::Protocol, error)
}
