//! The proxy's side: this test binary, run again to serve.

use std::{
    convert::Infallible,
    env,
    future::{Future, pending},
    io::{BufRead, stdin},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use socks_tower::{
    AuthenticateLayer, BoxError, DomainName, NoAuth, Pinned, Request, Rules, ServeError, Server,
    Socks, TcpConnector, ThreadedServer, UsernamePassword, Users,
};
use tokio::{
    io::{DuplexStream, duplex, split},
    net::{TcpSocket, TcpStream},
};
use tower::{ServiceBuilder, service_fn};

/// Which stack a child serves.
pub(crate) const STACK: &str = "SOCKS_TOWER_ATTACK_STACK";
/// How many descriptors it may have.
pub(crate) const DESCRIPTORS: &str = "SOCKS_TOWER_ATTACK_DESCRIPTORS";
/// What it says once it listens, before the address.
pub(crate) const LISTENING: &str = "listening on ";

/// The deadline of every child's negotiations, unless it is said to be patient.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);
const HOUR: Duration = Duration::from_secs(3600);

/// How many sessions the stack `limited` serves at once: what a program works
/// out from 256 descriptors.
pub(crate) const LIMIT: usize = 96;

/// Not a test, though it has to look like one: `Process` runs it.
#[test]
#[ignore = "serves the other tests, which start it"]
fn proxy() {
    let Ok(stack) = env::var(STACK) else {
        return;
    };
    if let Ok(descriptors) = env::var(DESCRIPTORS) {
        let most = descriptors.parse().ok();
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(serve(&stack));
}

async fn serve(stack: &str) {
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(here).await.unwrap();
    let addr = server.local_addr();
    let patient = socks().with_handshake_timeout(HOUR);
    match stack {
        "dials" => obey(addr, server.serve(socks())).await,
        "patient" => obey(addr, server.serve(patient)).await,
        "limited" => {
            let limit = ServiceBuilder::new().concurrency_limit(LIMIT);
            obey(addr, server.serve(limit.service(patient))).await;
        }
        "threaded" => {
            let two = NonZeroUsize::new(2).unwrap();
            let server = ThreadedServer::bind(&[here], two).unwrap();
            obey(server.local_addrs()[0], server.serve(patient)).await;
        }
        "endless" => {
            // So that the kernel holds little for each.
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(8192).unwrap();
            socket.bind(here).unwrap();
            let listener = socket.listen(1024).unwrap();
            let addr = listener.local_addr().unwrap();
            let endless =
                service_fn(|_: Request<Pinned>| pending::<Result<TcpStream, Infallible>>());
            let socks = socks().with_connector(endless);
            obey(addr, Server::new(listener).serve(socks)).await;
        }
        "inward" => {
            let socks = socks().with_connector(service_fn(inward));
            obey(addr, server.serve(socks)).await;
        }
        other => panic!("no stack {other}"),
    }
}

/// Lets in who has a password and who has none, and goes nowhere but here.
fn socks() -> Socks<
    TcpConnector,
    Rules,
    impl tower::Service<Request<DomainName>, Response = [IpAddr; 1], Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static,
> {
    let users = Users::new().with("joe", "secret").unwrap();
    let here =
        |_: Request<DomainName>| async { Ok::<_, Infallible>([IpAddr::from(Ipv4Addr::LOCALHOST)]) };
    Socks::new()
        .with_auth(AuthenticateLayer::new(NoAuth).or(UsernamePassword::new(users)))
        .with_rules(Rules::new().permit_all_special())
        .with_resolver(service_fn(here))
        .with_handshake_timeout(DEADLINE)
        .with_connect_timeout(HOUR)
}

/// Reaches nothing outside: most targets are an echo in memory, others refuse,
/// or are never reached.
async fn inward(request: Request<Pinned>) -> Result<DuplexStream, BoxError> {
    match request.target.target().port % 8 {
        0 => Err("refused".into()),
        1 => {
            tokio::time::sleep(DEADLINE).await;
            Err("too late".into())
        }
        _ => {
            let (ours, theirs) = duplex(1024);
            tokio::spawn(async move {
                let (mut from, mut to) = split(theirs);
                // The client may break it off.
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut to).await;
            });
            Ok(ours)
        }
    }
}

/// Serves until standard input says otherwise: `drop` drops the server and
/// stays; its end ends the process.
async fn obey(
    addr: SocketAddr,
    serving: impl Future<Output = Result<(), ServeError>> + Send + 'static,
) {
    let serving = tokio::spawn(serving);
    println!("{LISTENING}{addr}");
    let orders = tokio::task::spawn_blocking(move || {
        for line in stdin().lock().lines() {
            assert_eq!(line.unwrap(), "drop");
            serving.abort();
        }
    });
    orders.await.unwrap();
}
