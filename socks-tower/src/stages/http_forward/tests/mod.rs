//! Requests and responses as bytes, over streams in memory.

mod bodies;
mod ends;
mod forwards;
mod keeps;
mod refuses;
mod strict;

use std::{convert::Infallible, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};
use tower::{ServiceBuilder, service_fn};
use tower_layer::Layer;
use tower_service::Service;

use super::HttpForwardLayer;
use crate::{
    session::{Authorizer, Connector, Error, Pinned, Request, Stream, Transfer},
    stages::{
        authenticate::Users, connect::ConnectLayer, http_connect::HttpConnectLayer, relay::Relay,
    },
    test_support::accepted,
    works::{
        authorize::AuthorizeLayer,
        resolve::{ResolveLayer, SystemResolver},
        reuse::ReuseLayer,
        tcp::TcpConnector,
    },
};

/// Room for all that is said in a test.
const ROOM: usize = 256 * 1024;

fn open() -> HttpForwardLayer {
    HttpForwardLayer::new(HttpConnectLayer::open())
}

fn users() -> HttpForwardLayer {
    let users = Users::new().with("joe", "good").unwrap();
    HttpForwardLayer::new(HttpConnectLayer::password(users))
}

/// A client, and the origins that it is connected to.
struct World {
    client: DuplexStream,
    origins: UnboundedReceiver<(String, DuplexStream)>,
    session: JoinHandle<Result<Transfer, Error>>,
}

impl World {
    fn new(layer: HttpForwardLayer) -> Self {
        let (found, origins) = unbounded_channel();
        let connector = service_fn(move |request: Request| {
            let (near, far) = duplex(ROOM);
            found.send((request.target.to_string(), far)).unwrap();
            async { Ok::<_, Infallible>(near) }
        });
        let (client, io) = duplex(ROOM);
        let session = tokio::spawn(serve(layer, connector, io));
        Self {
            client,
            origins,
            session,
        }
    }

    async fn say(&mut self, said: impl AsRef<[u8]>) {
        self.client.write_all(said.as_ref()).await.unwrap();
    }

    /// The next connection to an origin, and where it leads.
    async fn origin(&mut self) -> (String, DuplexStream) {
        soon(self.origins.recv()).await.unwrap()
    }

    /// Whether nobody has been connected to.
    fn is_alone(&mut self) -> bool {
        self.origins.try_recv().is_err()
    }

    /// What the client hears until the end of its stream.
    async fn rest(&mut self) -> String {
        rest(&mut self.client).await
    }
}

async fn serve<C>(layer: HttpForwardLayer, connector: C, io: impl Stream) -> Result<Transfer, Error>
where
    C: Connector<Request>,
{
    let stack = ConnectLayer::new(connector).layer(Relay::new());
    layer.layer(stack).call(accepted(io)).await
}

/// A connector that uses connections again, if these rules let it.
fn keeping(rules: impl Authorizer<Pinned>) -> impl Connector<Request> {
    ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(rules))
        .layer(ReuseLayer::new())
        .service(TcpConnector::new())
}

/// Fails a test that would wait for ever.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(3600), future).await.unwrap()
}

async fn rest(io: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    // Whatever came before an error counts.
    let _ = soon(io.read_to_end(&mut heard)).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// What is read up to `end`, and no further.
async fn until(io: &mut (impl tokio::io::AsyncRead + Unpin), end: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(end.as_bytes()) {
        match soon(io.read_u8()).await {
            Ok(byte) => heard.push(byte),
            Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&heard)),
        }
    }
    String::from_utf8(heard).unwrap()
}

async fn head(io: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    until(io, "\r\n\r\n").await
}
