//! A proxy, a client spoken by hand, and targets.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socks_core::{
    Decode, Decoded, Encode,
    v5::udp::{Fragment, Header},
};
use socks_tower::{
    Accepted, AuthenticateLayer, AuthorizeLayer, BoxError, ByCommand, DomainName, HandshakeLayer,
    Listener, NoAuth, Permit, Pinned, Request, ResolveLayer, Rules, Target, Transfer, UdpAssociate,
    Work,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::mpsc,
    time::timeout,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// For what must come at once: a test that fails shall not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Names, as these tests know them.
pub(crate) async fn resolve(
    Request { target: name, .. }: Request<DomainName>,
) -> Result<Vec<IpAddr>, BoxError> {
    match name.as_str() {
        "v4.example" => Ok(vec!["127.0.0.1".parse()?]),
        "v6.example" => Ok(vec!["::1".parse()?]),
        // The system sends nothing to the first of them.
        "two.example" => Ok(vec!["255.255.255.255".parse()?, "127.0.0.1".parse()?]),
        _ => Err("no such name".into()),
    }
}

/// Lets everybody send everywhere.
pub(crate) fn judge() -> impl Work<Request, Response = Request<Pinned>> + Sync {
    judge_by(service_fn(resolve))
}

/// As [`policy`], with another resolver.
pub(crate) fn judge_by<R>(resolver: R) -> impl Work<Request, Response = Request<Pinned>> + Sync
where
    R: Work<Request<DomainName>, Response: IntoIterator<Item = IpAddr>> + Sync,
{
    ServiceBuilder::new()
        .layer(ResolveLayer::new(resolver))
        .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
        .service(Permit::new())
}

/// A proxy that serves UDP ASSOCIATE and tells of each session that ends.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    ended: mpsc::UnboundedReceiver<Result<Transfer, BoxError>>,
}

impl Proxy {
    pub(crate) async fn start<P>(associate: UdpAssociate<P>) -> Self
    where
        P: Work<Request, Response = Request<Pinned>> + Sync,
    {
        Self::start_on("127.0.0.1:0", associate).await
    }

    pub(crate) async fn start_on<P>(addr: &str, associate: UdpAssociate<P>) -> Self
    where
        P: Work<Request, Response = Request<Pinned>> + Sync,
    {
        Self::start_with(addr, |accepted| accepted, associate).await
    }

    /// With something in front that sees each client as it comes.
    pub(crate) async fn start_behind<P>(
        front: impl Fn(Accepted<TcpStream>) -> Accepted<TcpStream> + Clone + Send + Sync + 'static,
        associate: UdpAssociate<P>,
    ) -> Self
    where
        P: Work<Request, Response = Request<Pinned>> + Sync,
    {
        Self::start_with("127.0.0.1:0", front, associate).await
    }

    async fn start_with<P>(
        addr: &str,
        front: impl Fn(Accepted<TcpStream>) -> Accepted<TcpStream> + Clone + Send + Sync + 'static,
        associate: UdpAssociate<P>,
    ) -> Self
    where
        P: Work<Request, Response = Request<Pinned>> + Sync,
    {
        let stack = ServiceBuilder::new()
            .map_request(front)
            .layer(HandshakeLayer::new())
            .layer(AuthenticateLayer::new(NoAuth))
            .service(ByCommand::new().udp_associate(associate));
        let mut listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, ended) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(accepted) = Listener::accept(&mut listener).await {
                let session = stack.clone().oneshot(accepted);
                let tell = tell.clone();
                tokio::spawn(async move {
                    let _ = tell.send(session.await.map_err(Into::into));
                });
            }
        });
        Self { addr, ended }
    }

    /// The next session to end.
    pub(crate) async fn ended(&mut self) -> Result<Transfer, BoxError> {
        let ended = timeout(PATIENCE, self.ended.recv()).await;
        ended.unwrap().unwrap()
    }
}

/// A client with an association.
pub(crate) struct Client {
    pub(crate) control: TcpStream,
    pub(crate) socket: UdpSocket,
    pub(crate) relay: SocketAddr,
}

impl Client {
    /// From the address of the proxy's family, as most do: it declares nothing.
    pub(crate) async fn new(proxy: &Proxy) -> Self {
        let ip = if proxy.addr.is_ipv4() {
            "127.0.0.1"
        } else {
            "::1"
        };
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        Self::declaring(proxy, socket, Target::UNSPECIFIED)
            .await
            .unwrap()
    }

    /// From the address of `socket`; the error is the reply's code.
    pub(crate) async fn declaring(
        proxy: &Proxy,
        socket: UdpSocket,
        declared: Target,
    ) -> Result<Self, u8> {
        let ip = socket.local_addr().unwrap().ip();
        let tcp = match ip {
            IpAddr::V4(_) => TcpSocket::new_v4().unwrap(),
            IpAddr::V6(_) => TcpSocket::new_v6().unwrap(),
        };
        tcp.bind((ip, 0).into()).unwrap();
        let mut control = tcp.connect(proxy.addr).await.unwrap();
        let mut request = b"\x05\x01\x00\x05\x03\x00".to_vec();
        request.extend(&address(&declared));
        control.write_all(&request).await.unwrap();
        let mut reply = [0; 6];
        control.read_exact(&mut reply).await.unwrap();
        if reply[3] != 0 {
            return Err(reply[3]);
        }
        let ip: IpAddr = match reply[5] {
            1 => {
                let mut ip = [0; 4];
                control.read_exact(&mut ip).await.unwrap();
                ip.into()
            }
            _ => {
                let mut ip = [0; 16];
                control.read_exact(&mut ip).await.unwrap();
                ip.into()
            }
        };
        let port = control.read_u16().await.unwrap();
        Ok(Self {
            control,
            socket,
            relay: SocketAddr::new(ip, port),
        })
    }

    pub(crate) async fn send(&self, target: &Target, data: &[u8]) {
        self.send_bytes(&datagram(0, target, data)).await;
    }

    pub(crate) async fn send_bytes(&self, datagram: &[u8]) {
        let sent = self.socket.send_to(datagram, self.relay).await.unwrap();
        assert_eq!(sent, datagram.len());
    }

    /// The next datagram from the relay: where it says that it is from, and
    /// its data.
    pub(crate) async fn receive(&self) -> (SocketAddr, Vec<u8>) {
        let mut bytes = vec![0; 65_536];
        let received = timeout(PATIENCE, self.socket.recv_from(&mut bytes)).await;
        let (len, from) = received.expect("a datagram").unwrap();
        assert_eq!(from, self.relay);
        let Decoded::Complete { message, consumed } = Header::decode(&bytes[..len]).unwrap() else {
            panic!("a short header");
        };
        assert_eq!(message.fragment, Fragment::STANDALONE);
        let source = message.target.socket_addr().unwrap();
        (source, bytes[consumed..len].to_vec())
    }

    /// Sends, and expects the answer of an echo at `source`, and nothing before.
    pub(crate) async fn echo(&self, target: &Target, source: SocketAddr, data: &[u8]) {
        self.send(target, data).await;
        let (from, echoed) = self.receive().await;
        assert_eq!(from, source);
        assert!(echoed == data, "{} bytes for {}", echoed.len(), data.len());
    }
}

pub(crate) fn datagram(fragment: u8, target: &Target, data: &[u8]) -> Vec<u8> {
    let header = Header {
        fragment: Fragment(fragment),
        target: target.clone(),
    };
    let mut bytes = header.to_bytes();
    bytes.extend(data);
    bytes
}

/// A target as requests and headers have it.
fn address(target: &Target) -> Vec<u8> {
    datagram(0, target, b"").split_off(3)
}

pub(crate) fn name(name: &str, port: u16) -> Target {
    Target::new(DomainName::new(name).unwrap(), port)
}

/// A target that gives everything back.
pub(crate) async fn echo(ip: &str) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_536];
        loop {
            let (len, from) = socket.recv_from(&mut bytes).await.unwrap();
            let _ = socket.send_to(&bytes[..len], from).await;
        }
    });
    addr
}
