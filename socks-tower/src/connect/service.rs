use socks_core::{Target, v5::Command};
use tower_service::Service;

use crate::{
    Connected, Connector, Error, ErrorKind, Request, Requested, Stage, StageFuture, Stream,
    stage::{always_ready, opaque_future, run},
};

/// Connects by `C` and replies, then goes on to `S`. See the
/// [module's page](crate::connect).
#[derive(Clone, Copy, Debug)]
pub struct Connect<C, S> {
    pub(super) connector: C,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Connect`].
    ConnectFuture<F> = StageFuture<F>
}

impl<Io, C, S> Service<Requested<Io>> for Connect<C, S>
where
    Io: Stream,
    C: Connector<Request>,
    S: Stage<Connected<Io, C::Io>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ConnectFuture<S::Future>;

    always_ready!();

    fn call(&mut self, requested: Requested<Io>) -> Self::Future {
        let own = connect(self.connector.clone(), requested);
        ConnectFuture::new(StageFuture::new(own, self.inner.clone()))
    }
}

async fn connect<Io, C>(
    connector: C,
    requested: Requested<Io>,
) -> Result<Connected<Io, C::Io>, Error>
where
    Io: Stream,
    C: Connector<Request>,
{
    let Requested {
        mut client,
        request,
    } = requested;
    if request.command != Command::CONNECT {
        return Err(client.refuse(Error::bare(ErrorKind::Command)).await);
    }
    let answer = client.watch(run(connector, request.clone())).await?;
    let upstream = match answer {
        Ok(response) => C::outbound(response),
        Err(error) => {
            let error = Error::of_work(ErrorKind::Connect, error);
            return Err(client.refuse(error).await);
        }
    };
    let bound = upstream
        .local_addr
        .map_or(Target::UNSPECIFIED, Target::from);
    client.grant(&bound).await?;
    Ok(Connected {
        client,
        upstream,
        request,
    })
}
