//! A proxy that is observed, and clients spoken by hand.

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use socks_tower::{
    Accepted, AuthenticateLayer, AuthorizeLayer, BoxError, ByCommand, Command, ConnectLayer,
    DomainName, ErrorKind, HandshakeLayer, HttpConnectLayer, Match, NoAuth, Permit, Proxy as Stack,
    Relay, Request, ResolveLayer, Rules, Server, Session, TcpAcceptor, TcpConnector, TorResolve,
    Transfer, UdpAssociate, UsernamePassword, Users,
    middleware::{
        ObserveLayer, Observer, RegisterLayer, Sessions,
        observe::{Outcome, Record, Summary},
    },
    session::Datagrams,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tracing::Instrument;

/// Longer than anything takes here, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: still waiting after {PATIENCE:?}"),
    }
}

/// A summary that can be kept.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) record: Record,
    pub(crate) bytes: (u64, u64),
    pub(crate) datagrams: Option<Datagrams>,
    pub(crate) outcome: &'static str,
    pub(crate) kind: Option<ErrorKind>,
    pub(crate) error: Option<String>,
}

impl Told {
    pub(crate) fn target(&self) -> Option<String> {
        self.record.target.as_ref().map(ToString::to_string)
    }
}

/// Keeps summaries.
pub(crate) struct Keep(mpsc::UnboundedSender<Told>);

impl Keep {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (tell, told) = mpsc::unbounded_channel();
        (Self(tell), told)
    }
}

impl Observer for Keep {
    fn ended(&self, summary: &Summary<'_>) {
        let failure = summary.outcome.failure();
        let is_done = matches!(summary.outcome, Outcome::Done(_));
        let told = Told {
            record: summary.record.clone(),
            bytes: (summary.up, summary.down),
            datagrams: summary.datagrams,
            outcome: summary.outcome.as_str(),
            kind: failure.map(|failure| failure.kind()),
            error: failure.map(|failure| failure.to_string()),
        };
        assert!(!(is_done && told.error.is_some()));
        let _ = self.0.send(told);
    }
}

/// A running proxy that serves all there is, and tells of its sessions.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    pub(crate) sessions: Sessions,
    told: mpsc::UnboundedReceiver<Told>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<AbortOnDropHandle<()>>,
}

/// What the observed proxy serves: every version, HTTP, CONNECT, UDP ASSOCIATE
/// and look-ups. 192.0.2.0/24 is denied, the name `panic.test` makes the
/// resolver panic, and any other is this machine's.
pub(crate) fn stack(
    sessions: &Sessions,
) -> impl Stack<TcpStream, Error: Send> + Clone + Send + use<> {
    let here = |Request { target: name, .. }: Request<DomainName>| async move {
        assert_ne!(name.as_str(), "panic.test", "as the test wants it");
        Ok::<_, Infallible>([IpAddr::from(Ipv4Addr::LOCALHOST)])
    };
    let denied = "192.0.2.0/24".parse().unwrap();
    let rules = Rules::new()
        .permit_all_special()
        .deny(Match::any().network(denied));
    let judged = ServiceBuilder::new()
        .layer(ResolveLayer::new(service_fn(here)))
        .layer(AuthorizeLayer::new(rules));
    let permit = judged.clone().service(Permit::new());
    let connect = ServiceBuilder::new()
        .layer(ConnectLayer::new(judged.service(TcpConnector::new())))
        .service(Relay::new());
    let users = Users::new().with("joe", "secret").unwrap();
    let authenticate = AuthenticateLayer::new(NoAuth).or(UsernamePassword::new(users));
    ServiceBuilder::new()
        .layer(HttpConnectLayer::open().or((HandshakeLayer::new(), authenticate)))
        .layer(RegisterLayer::new(sessions.clone()))
        .service(
            ByCommand::new()
                .connect(connect)
                .udp_associate(UdpAssociate::new(permit.clone()))
                .on(Command::RESOLVE, TorResolve::new(permit)),
        )
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let sessions = Sessions::new();
        let (keep, told) = Keep::new();
        let stack = ServiceBuilder::new()
            .layer(ObserveLayer::new(keep))
            .service(stack(&sessions));
        Self::serve(stack, sessions, told).await
    }

    pub(crate) async fn serve<S>(
        stack: S,
        sessions: Sessions,
        told: mpsc::UnboundedReceiver<Told>,
    ) -> Self
    where
        S: Stack<TcpStream, Error: Send> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let server: Server<TcpAcceptor> = Server::bind("127.0.0.1:0").await.unwrap();
        let server = server
            .with_grace(Duration::from_millis(50))
            .with_shutdown(async { drop(stopped.await) });
        let addr = server.local_addr();
        let serving = async { server.serve(stack).await.unwrap() };
        let task = tokio::spawn(serving.in_current_span());
        Self {
            addr,
            sessions,
            told,
            stop: Some(stop),
            task: Some(AbortOnDropHandle::new(task)),
        }
    }

    /// A client that has sent `words`.
    pub(crate) async fn client(&self, words: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.addr).await.unwrap();
        client.write_all(words).await.unwrap();
        client
    }

    /// Tells it to stop, and waits until it has cut its sessions.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take() {
            patiently("the server", task).await.unwrap();
        }
    }

    /// The next session that has ended.
    pub(crate) async fn told(&mut self) -> Told {
        patiently("a summary", self.told.recv()).await.unwrap()
    }

    /// Sees to it that no other session has ended.
    pub(crate) fn has_told_all(&mut self) -> bool {
        self.told.try_recv().is_err()
    }
}

/// A way to ask for a tunnel to `target`, and what is known of a session then.
pub(crate) struct Way {
    pub(crate) protocol: &'static str,
    pub(crate) version: &'static str,
    pub(crate) user: Option<&'static str>,
    pub(crate) user_id: Option<&'static [u8]>,
    pub(crate) words: Vec<u8>,
    /// The length of what a client hears before data.
    pub(crate) granted: usize,
    pub(crate) target: String,
}

impl Way {
    /// Each of them.
    pub(crate) fn all(target: SocketAddr) -> Vec<Self> {
        let SocketAddr::V4(v4) = target else {
            panic!("{target} is not IPv4")
        };
        let (ip, port) = (v4.ip().octets(), v4.port().to_be_bytes());
        let name = format!("target.test:{}", v4.port());
        let socks = |version, words: &[&[u8]], granted| Self {
            protocol: "socks",
            version,
            user: None,
            user_id: None,
            words: words.concat(),
            granted,
            target: target.to_string(),
        };
        vec![
            Self {
                user_id: Some(b"ann"),
                ..socks("4", &[b"\x04\x01", &port, &ip, b"ann\0"], 8)
            },
            Self {
                user_id: Some(b"ann"),
                target: name.clone(),
                ..socks(
                    "4a",
                    &[b"\x04\x01", &port, b"\0\0\0\x01ann\0target.test\0"],
                    8,
                )
            },
            socks("5", &[b"\x05\x01\x00\x05\x01\x00\x01", &ip, &port], 12),
            Self {
                user: Some("joe"),
                target: name,
                ..socks(
                    "5",
                    &[
                        b"\x05\x01\x02\x01\x03joe\x06secret\x05\x01\x00\x03\x0btarget.test",
                        &port,
                    ],
                    14,
                )
            },
            Self {
                protocol: "http",
                version: "1.1",
                words: format!("CONNECT {target} HTTP/1.1\r\n\r\n").into(),
                granted: 39,
                ..socks("", &[], 0)
            },
        ]
    }

    pub(crate) fn check(&self, told: &Told, client: &TcpStream, proxy: SocketAddr) {
        let record = &told.record;
        let client = client.local_addr().unwrap();
        assert_eq!(record.peer_addr, Some(client));
        assert_eq!(record.client_addr, Some(client));
        assert_eq!(record.local_addr, Some(proxy));
        let protocol = record.protocol.unwrap();
        assert_eq!(protocol.name(), self.protocol);
        assert_eq!(protocol.version(), Some(self.version));
        assert_eq!(record.command, Some(Command::CONNECT));
        let user = record.identity.as_ref().map(|identity| identity.as_str());
        assert_eq!(user, self.user);
        let user_id = record.user_id.as_ref().map(|id| id.as_bytes());
        assert_eq!(user_id, self.user_id);
        assert_eq!(told.target().as_ref(), Some(&self.target));
    }
}

/// Opens a tunnel and sends five bytes up and seven down.
pub(crate) async fn tunnel(
    proxy: &Proxy,
    way: &Way,
    target: &TcpListener,
) -> (TcpStream, TcpStream) {
    let mut client = proxy.client(&way.words).await;
    let (mut far, _) = patiently("accept", target.accept()).await.unwrap();
    hears(&mut client, way.granted).await;
    client.write_all(b"hello").await.unwrap();
    hears(&mut far, 5).await;
    far.write_all(b"welcome").await.unwrap();
    hears(&mut client, 7).await;
    (client, far)
}

pub(crate) async fn hears(stream: &mut TcpStream, len: usize) {
    let mut bytes = vec![0; len];
    patiently("words", stream.read_exact(&mut bytes))
        .await
        .unwrap();
}

/// Reads to whatever end.
pub(crate) async fn all_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut found = Vec::new();
    let _ = patiently("the end", stream.read_to_end(&mut found)).await;
    found
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Calls `stack` with a connection in memory, as a server would.
pub(crate) async fn serve_once<S>(stack: S, words: &[u8]) -> Result<Transfer, BoxError>
where
    S: Stack<DuplexStream>,
{
    let (mut client, io) = duplex(1024);
    client.write_all(words).await.unwrap();
    client.shutdown().await.unwrap();
    let accepted = Accepted::new(io, Session::new());
    stack.oneshot(accepted).await.map_err(Into::into)
}
