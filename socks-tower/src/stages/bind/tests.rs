use std::{
    future::pending,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socks_core::{DomainName, Target, server::Version, v5::Command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_layer::Layer;

use crate::{
    session::{
        Error, ErrorKind, Inbound, Pinned, Protocol, Request, Requested, Session, Transfer, Work,
    },
    stages::{bind::BindLayer, listen_addrs::ListenAddrs, relay::Relay},
    works::{
        authorize::{AuthorizeLayer, Match, Permit, Rules},
        resolve::ResolveLayer,
    },
};

/// Loopback may come, but for 127.0.0.3. There is one name.
fn judge() -> impl Work<Request, Response = Request<Pinned>> {
    let resolver = service_fn(
        |Request { target: name, .. }: Request<DomainName>| async move {
            match name.as_str() {
                "peer.example" => {
                    Ok(["127.0.0.4", "127.0.0.5"].map(|ip| ip.parse::<IpAddr>().unwrap()))
                }
                _ => Err(io::Error::other("no such name")),
            }
        },
    );
    let rules = Rules::new()
        .permit_special("127.0.0.0/8".parse().unwrap())
        .permit_special("::1/128".parse().unwrap())
        .deny(Match::any().network("127.0.0.3/32".parse().unwrap()));
    ServiceBuilder::new()
        .layer(ResolveLayer::new(resolver))
        .layer(AuthorizeLayer::new(rules))
        .service(Permit::new())
}

/// A client at one end of a pipe, and its session at the other.
struct Trial {
    client: DuplexStream,
    session: JoinHandle<Result<Transfer, Error>>,
}

fn request(version: Version, command: Command, expected: &str) -> Request {
    let mut session = Session::new().with_local_addr("127.0.0.1:1080".parse().unwrap());
    session.protocol = Some(version.into());
    Request::new(session, command, expected.parse().unwrap())
}

impl Trial {
    fn new<J>(layer: BindLayer<J>, request: Request) -> Self
    where
        J: Work<Request, Response = Request<Pinned>>,
    {
        let (client, io) = duplex(1024);
        let dialect = match request.session.protocol {
            Some(Protocol::Socks4) => Version::Socks4,
            Some(Protocol::Socks4a) => Version::Socks4a,
            _ => Version::Socks5,
        };
        let client_end = Inbound::new(io, Vec::new(), dialect);
        let requested = Requested {
            client: client_end,
            request,
        };
        let stack = layer.layer(Relay::new());
        let session = tokio::spawn(stack.oneshot(requested));
        Self { client, session }
    }

    fn v5(expected: &str) -> Self {
        let request = request(Version::Socks5, Command::BIND, expected);
        Self::new(BindLayer::new(judge()), request)
    }

    fn v4(expected: &str) -> Self {
        let request = request(Version::Socks4, Command::BIND, expected);
        Self::new(BindLayer::new(judge()), request)
    }

    /// The address of a reply that grants, in SOCKS5.
    async fn granted(&mut self) -> SocketAddr {
        let mut head = [0; 4];
        self.client.read_exact(&mut head).await.unwrap();
        assert_eq!(head[..3], [5, 0, 0]);
        let ip: IpAddr = match head[3] {
            1 => self.client.read_u32().await.unwrap().to_be_bytes().into(),
            4 => self.client.read_u128().await.unwrap().to_be_bytes().into(),
            other => panic!("address type {other}"),
        };
        SocketAddr::new(ip, self.client.read_u16().await.unwrap())
    }

    /// The same in SOCKS4.
    async fn granted_v4(&mut self) -> SocketAddr {
        let mut head = [0; 2];
        self.client.read_exact(&mut head).await.unwrap();
        assert_eq!(head, [0, 90]);
        let port = self.client.read_u16().await.unwrap();
        let ip = self.client.read_u32().await.unwrap().to_be_bytes();
        (ip, port).into()
    }

    /// All that the client still hears, and why the session ended.
    async fn refused(mut self) -> (Vec<u8>, Error) {
        let mut heard = Vec::new();
        self.client.read_to_end(&mut heard).await.unwrap();
        drop(self.client);
        (heard, self.session.await.unwrap().unwrap_err())
    }
}

/// Connects to `to` from the loopback address `from`.
async fn peer_from(from: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let from: IpAddr = from.parse().unwrap();
    let socket = match from {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

async fn is_closed(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).await.is_err()
}

/// The peer is hung up on, in whichever way.
async fn is_hung_up_on(mut peer: TcpStream) -> bool {
    matches!(peer.read(&mut [0; 8]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn the_peer_is_announced_before_its_first_bytes() {
    let mut trial = Trial::v5("127.0.0.1:21");
    let bound = trial.granted().await;
    assert_eq!(bound.ip().to_string(), "127.0.0.1");

    let mut peer = TcpStream::connect(bound).await.unwrap();
    peer.write_all(b"banner").await.unwrap();

    assert_eq!(trial.granted().await, peer.local_addr().unwrap());
    let mut heard = [0; 6];
    trial.client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"banner");
    assert!(is_closed(bound).await, "one peer, and no more");

    trial.client.write_all(b"back").await.unwrap();
    let mut heard = [0; 4];
    peer.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"back");
    drop((peer, trial.client));
    let transfer = trial.session.await.unwrap().unwrap();
    assert_eq!((transfer.up, transfer.down), (4, 6));
}

#[tokio::test]
async fn what_the_client_sends_while_it_waits_is_for_the_peer() {
    let mut trial = Trial::v5("127.0.0.1:0");
    let bound = trial.granted().await;
    trial.client.write_all(b"early").await.unwrap();

    let mut peer = TcpStream::connect(bound).await.unwrap();

    let mut heard = [0; 5];
    peer.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"early");
}

#[tokio::test]
async fn ipv6_peers_come_to_an_ipv6_address() {
    for expected in ["[::1]:21", "[::]:0"] {
        let mut request = request(Version::Socks5, Command::BIND, expected);
        request.session.local_addr = Some("[::1]:1080".parse().unwrap());
        let mut trial = Trial::new(BindLayer::new(judge()), request);
        let bound = trial.granted().await;
        assert_eq!(bound.ip().to_string(), "::1");

        let peer = TcpStream::connect(bound).await.unwrap();

        assert_eq!(trial.granted().await, peer.local_addr().unwrap());
    }
}

#[tokio::test]
async fn a_wrong_peer_is_dropped_by_socks5_and_the_right_one_let_in() {
    for expected in ["127.0.0.2:21", "peer.example:21", "0.0.0.0:0"] {
        let right = match expected {
            "peer.example:21" => "127.0.0.5",
            _ => "127.0.0.2",
        };
        let mut trial = Trial::v5(expected);
        let bound = trial.granted().await;
        for _ in 0..3 {
            let wrong = peer_from("127.0.0.3", bound).await.unwrap();
            assert!(is_hung_up_on(wrong).await);
        }

        let peer = peer_from(right, bound).await.unwrap();

        assert_eq!(trial.granted().await, peer.local_addr().unwrap());
    }
}

#[tokio::test]
async fn a_wrong_peer_ends_a_bind_of_socks4() {
    for expected in ["127.0.0.2:21", "0.0.0.0:0"] {
        let mut trial = Trial::v4(expected);
        let bound = trial.granted_v4().await;

        let wrong = peer_from("127.0.0.3", bound).await.unwrap();

        assert!(is_hung_up_on(wrong).await);
        let (heard, error) = trial.refused().await;
        assert_eq!(heard, b"\x00\x5b\0\0\0\0\0\0");
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(is_closed(bound).await);
    }
}

#[tokio::test]
async fn socks4_hears_of_its_peer() {
    let mut trial = Trial::v4("127.0.0.2:21");
    let bound = trial.granted_v4().await;

    let peer = peer_from("127.0.0.2", bound).await.unwrap();

    assert_eq!(trial.granted_v4().await, peer.local_addr().unwrap());
}

#[tokio::test]
async fn the_port_of_the_peer_is_not_compared() {
    let mut trial = Trial::v5("127.0.0.1:20");
    let bound = trial.granted().await;
    let peer = TcpStream::connect(bound).await.unwrap();
    assert_ne!(peer.local_addr().unwrap().port(), 20);
    assert_eq!(trial.granted().await, peer.local_addr().unwrap());
}

#[tokio::test]
async fn an_expected_peer_that_is_denied_is_not_listened_for() {
    for expected in ["127.0.0.3:21", "10.0.0.1:21"] {
        let (heard, error) = Trial::v5(expected).refused().await;
        assert_eq!(heard[..2], [5, 2], "{expected}");
        assert_eq!(error.kind(), ErrorKind::Denied, "{expected}");
    }
    let (heard, error) = Trial::v5("nowhere.example:21").refused().await;
    assert_eq!(heard[..2], [5, 4]);
    assert_eq!(error.kind(), ErrorKind::Resolve);
}

#[tokio::test]
async fn other_commands_are_refused() {
    for command in [Command::CONNECT, Command::UDP_ASSOCIATE, Command(9)] {
        let request = request(Version::Socks5, command, "127.0.0.1:21");
        let trial = Trial::new(BindLayer::new(judge()), request);
        let (heard, error) = trial.refused().await;
        assert_eq!(heard[..2], [5, 7]);
        assert_eq!(error.kind(), ErrorKind::Command);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_come_is_waited_for_two_minutes() {
    for (version, code) in [(Version::Socks5, [5, 6]), (Version::Socks4, [0, 91])] {
        let began = Instant::now();
        let request = request(version, Command::BIND, "127.0.0.1:21");
        let mut trial = Trial::new(BindLayer::new(judge()), request);
        let bound = match version {
            Version::Socks5 => trial.granted().await,
            _ => trial.granted_v4().await,
        };

        let (heard, error) = trial.refused().await;

        assert_eq!(heard[..2], code);
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(began.elapsed(), Duration::from_secs(120));
        assert!(is_closed(bound).await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_to_come_can_be_set_and_wrong_peers_do_not_add_to_it() {
    let layer = BindLayer::new(judge()).with_timeout(Duration::from_secs(5));
    let request = request(Version::Socks5, Command::BIND, "127.0.0.2:21");
    let mut trial = Trial::new(layer, request);
    let bound = trial.granted().await;
    let began = Instant::now();

    // A clock that stands lets no peer come while it is paused.
    tokio::time::resume();
    let wrong = peer_from("127.0.0.1", bound).await.unwrap();
    assert!(is_hung_up_on(wrong).await);
    tokio::time::pause();

    let (heard, _) = trial.refused().await;
    assert_eq!(heard[..2], [5, 6]);
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(6), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_verdict_does_not_come_is_not_waited_for_longer() {
    let judge = service_fn(|request: Request| async move {
        let addr = request.target.socket_addr().unwrap();
        if !addr.ip().is_unspecified() {
            pending::<()>().await;
        }
        Ok::<_, Error>(request.with_target(Pinned::from(addr)))
    });
    let request = request(Version::Socks5, Command::BIND, "0.0.0.0:0");
    let mut trial = Trial::new(BindLayer::new(judge), request);
    let bound = trial.granted().await;

    tokio::time::resume();
    let _peer = TcpStream::connect(bound).await.unwrap();
    tokio::time::pause();

    let (heard, _) = trial.refused().await;
    assert_eq!(heard[..2], [5, 6]);
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_wait() {
    for mut trial in [Trial::v5("127.0.0.1:21"), Trial::v5("0.0.0.0:0")] {
        let bound = trial.granted().await;

        trial.client.shutdown().await.unwrap();

        let error = trial.session.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClientGone);
        assert!(is_closed(bound).await);
        let mut heard = Vec::new();
        trial.client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"", "nobody listens to a refusal");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_judge_s_work() {
    let never = service_fn(|_: Request| pending::<Result<Request<Pinned>, Error>>());
    let request = request(Version::Socks5, Command::BIND, "127.0.0.1:21");
    let trial = Trial::new(BindLayer::new(never), request);
    drop(trial.client);
    let error = trial.session.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientGone);
}

/// A TCP client, which can be reset and can send more than is read early.
async fn over_tcp() -> (TcpStream, SocketAddr, JoinHandle<Result<Transfer, Error>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let (io, _) = listener.accept().await.unwrap();
    let requested = Requested {
        client: Inbound::new(io, Vec::new(), Version::Socks5),
        request: request(Version::Socks5, Command::BIND, "127.0.0.1:21"),
    };
    let stack = BindLayer::new(judge()).layer(Relay::new());
    let session = tokio::spawn(stack.oneshot(requested));
    let mut reply = [0; 10];
    client.read_exact(&mut reply).await.unwrap();
    let bound = ([127, 0, 0, 1], u16::from_be_bytes([reply[8], reply[9]])).into();
    (client, bound, session)
}

#[tokio::test]
async fn a_client_that_resets_ends_the_wait() {
    let (client, bound, session) = over_tcp().await;
    client.set_zero_linger().unwrap();
    drop(client);
    let error = session.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientGone);
    assert!(is_closed(bound).await);
}

#[tokio::test]
async fn a_client_that_sends_much_and_hangs_up_is_missed_within_a_second() {
    for reset in [false, true] {
        let (mut client, bound, session) = over_tcp().await;
        client.write_all(&[7; 20 * 1024]).await.unwrap();
        if reset {
            client.set_zero_linger().unwrap();
        }
        let began = Instant::now();
        drop(client);
        let error = session.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClientGone);
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(is_closed(bound).await);
    }
}

#[tokio::test]
async fn a_client_that_sends_much_and_waits_has_it_all_sent_to_its_peer() {
    let (mut client, bound, _session) = over_tcp().await;
    let sent: Vec<u8> = (0..40_000_u32).map(|i| (i % 251) as u8).collect();
    client.write_all(&sent).await.unwrap();
    let mut peer = TcpStream::connect(bound).await.unwrap();
    let mut heard = vec![0; sent.len()];
    peer.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, sent);
}

#[tokio::test]
async fn a_full_range_of_ports_is_a_general_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let layer =
        BindLayer::new(judge()).with_listen_addrs(ListenAddrs::new().with_ports(port..=port));
    let request = request(Version::Socks5, Command::BIND, "127.0.0.1:21");

    let (heard, error) = Trial::new(layer.clone(), request.clone()).refused().await;
    assert_eq!(heard[..2], [5, 1]);
    assert_eq!(error.kind(), ErrorKind::Connect);

    drop(taken);
    let mut trial = Trial::new(layer, request);
    assert_eq!(trial.granted().await.port(), port);
}

#[tokio::test]
async fn the_advertised_address_is_told_with_the_real_port() {
    let listen = ListenAddrs::new()
        .with_advertised("203.0.113.7".parse().unwrap())
        .unwrap();
    let layer = BindLayer::new(judge()).with_listen_addrs(listen);
    let request = request(Version::Socks5, Command::BIND, "127.0.0.1:21");
    let mut trial = Trial::new(layer, request);

    let told = trial.granted().await;

    assert_eq!(told.ip().to_string(), "203.0.113.7");
    let reached = SocketAddr::new([127, 0, 0, 1].into(), told.port());
    let peer = TcpStream::connect(reached).await.unwrap();
    assert_eq!(trial.granted().await, peer.local_addr().unwrap());
}

#[tokio::test]
async fn socks4_says_ipv6_only_as_the_proxy_s_own_address() {
    let of = |local: &str| {
        let mut request = request(Version::Socks4a, Command::BIND, "[::1]:21");
        request.session.local_addr = Some(local.parse().unwrap());
        Trial::new(BindLayer::new(judge()), request)
    };
    let told = of("[::1]:1080").granted_v4().await;
    assert_eq!(told.ip().to_string(), "0.0.0.0");
    assert_ne!(told.port(), 0);

    let (heard, error) = of("127.0.0.1:1080").refused().await;
    assert_eq!(heard[..2], [0, 91]);
    assert_eq!(error.kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn a_judge_that_leaves_no_address_leaves_nobody_to_wait_for() {
    let none = service_fn(|request: Request| async move {
        let pinned = Pinned::new(Target::UNSPECIFIED, []);
        Ok::<_, Error>(request.with_target(pinned))
    });
    let request = request(Version::Socks5, Command::BIND, "0.0.0.0:0");
    let (heard, _) = Trial::new(BindLayer::new(none), request).refused().await;
    assert_eq!(heard[..2], [5, 8]);
}
