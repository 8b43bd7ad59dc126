//! A proxy, an origin, and a client that keeps its connection.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socks_tower::{
    AuthorizeLayer, Connector, HttpConnectLayer, HttpForwardLayer, Proxy, ReloadRules, ReloadUsers,
    Request, ResolveLayer, ReuseLayer, Rules, Server, SystemResolver, TcpConnector, Users,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::ServiceBuilder;

/// Answers `GET /N` with N bytes, and `/hold` never.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    came: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(BufStream::new(io)));
            }
        });
        Self { addr, came }
    }

    /// How many connections came.
    pub(crate) fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

async fn answer(mut io: BufStream<TcpStream>) -> Option<()> {
    loop {
        let head = head(&mut io).await?;
        let path = head.split(' ').nth(1).unwrap();
        if path == "/hold" {
            // Until it is hung up on.
            io.read_u8().await.ok();
            return None;
        }
        let len = path.trim_start_matches('/').parse().unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
        io.write_all(answer.as_bytes()).await.ok()?;
        io.write_all(&vec![b'x'; len]).await.ok()?;
        io.flush().await.ok()?;
        if head.to_lowercase().contains("connection: close") {
            return None;
        }
    }
}

/// None at the end of the stream.
async fn head(io: &mut BufStream<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if io.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// What is asked about each request.
pub(crate) struct Asked {
    pub(crate) users: ReloadUsers,
    pub(crate) rules: ReloadRules<Rules>,
}

impl Asked {
    pub(crate) fn new() -> Self {
        Self {
            users: ReloadUsers::new(Users::new().with("joe", "good").unwrap()),
            rules: ReloadRules::new(Rules::new().permit_all_special()),
        }
    }

    pub(crate) fn http(&self) -> HttpForwardLayer {
        HttpForwardLayer::new(HttpConnectLayer::password(self.users.clone()))
    }

    pub(crate) fn connector(&self) -> impl Connector<Request> + use<> {
        ServiceBuilder::new()
            .layer(ResolveLayer::new(SystemResolver::new()))
            .layer(AuthorizeLayer::new(self.rules.clone()))
            .layer(ReuseLayer::new())
            .service(TcpConnector::new())
    }
}

pub(crate) async fn serve(proxy: impl Proxy<TcpStream> + Clone + Send + 'static) -> SocketAddr {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.serve(proxy));
    addr
}

/// joe:good, in Base64.
pub(crate) const JOE: &str = "am9lOmdvb2Q=";
/// joe:bad.
pub(crate) const WRONG: &str = "am9lOmJhZA==";

/// A client whose connection is kept.
pub(crate) struct Client(BufStream<TcpStream>);

impl Client {
    pub(crate) async fn new(proxy: SocketAddr) -> Self {
        Self(BufStream::new(TcpStream::connect(proxy).await.unwrap()))
    }

    pub(crate) async fn ask(&mut self, origin: &Origin, path: &str) {
        self.ask_as(JOE, origin, path).await;
    }

    pub(crate) async fn ask_as(&mut self, login: &str, origin: &Origin, path: &str) {
        let addr = origin.addr;
        let request = format!(
            "GET http://{addr}{path} HTTP/1.1\r\nHost: {addr}\r\n\
             Proxy-Authorization: Basic {login}\r\n\r\n"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The status and the length of the body, which is whole.
    pub(crate) async fn hear(&mut self) -> (u16, usize) {
        let (status, head) = self.head().await;
        let len = head.split("content-length: ").nth(1).unwrap_or("0\r");
        let len = len.split('\r').next().unwrap().parse().unwrap();
        let mut body = vec![0; len];
        soon(self.0.read_exact(&mut body)).await.unwrap();
        (status, len)
    }

    pub(crate) async fn head(&mut self) -> (u16, String) {
        let head = soon(head(&mut self.0)).await.unwrap().to_lowercase();
        (head[9..12].parse().unwrap(), head)
    }

    pub(crate) async fn get(&mut self, origin: &Origin, path: &str) -> (u16, usize) {
        self.ask(origin, path).await;
        self.hear().await
    }

    /// Goes without a word.
    pub(crate) fn vanish(self) {
        self.0.into_inner().set_zero_linger().unwrap();
    }

    pub(crate) fn io(&mut self) -> &mut BufStream<TcpStream> {
        &mut self.0
    }
}

/// Fails a test that would wait for ever.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap()
}
