//! Our hop of a chain, in a process of its own, with its system calls counted.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read, stdin},
    process::Stdio,
};

use socks_tests::{
    content::Content,
    origin::{Origin, V4},
    patiently,
    proxy::Proxy,
};
use socks_tower::{
    AuthenticateLayer, ConnectLayer, Credentials, HandshakeLayer, HttpConnectLayer, HttpConnector,
    NoAuth, Relay, Rules, Socks, Socks4Connector, Socks5Connector, Target, Users,
    works::upstream::{Offer, connect, direct},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
    process::Command,
};
use tower::ServiceBuilder;

/// The proxies that the hop goes through, with commas between.
const HOPS: &str = "SOCKS_TESTS_HOPS";
/// What it says once it listens, before the address.
const LISTENING: &str = "listening on ";

const PAGE: Content = Content::mib(64);

/// Not a test, though it has to look like one: strace runs it.
#[tokio::test]
#[ignore = "serves the other test, which starts it"]
async fn hop() {
    let Ok(hops) = env::var(HOPS) else { return };
    let mut hops = hops.split(',').map(|hop| hop.parse::<Target>().unwrap());
    let mut next = || hops.next().unwrap();
    let joe = Credentials::new("joe", "secret").unwrap();
    let to_first = Socks5Connector::new(next(), direct()).with_credentials(joe);
    let to_second = HttpConnector::new(next(), to_first);
    let chain = Socks4Connector::new(next(), to_second);
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(chain))
        .service(Relay::new());
    let proxy = Proxy::spawn(stack).await;
    println!("\n{LISTENING}{}", proxy.addr());
    // Until whoever has started it hangs up.
    let waits = tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new()));
    let _ = waits.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace"]
async fn our_hop_of_a_chain_of_three_splices_64_mib() {
    let socks = || Socks::new().with_rules(Rules::new().permit_all_special());
    let users = Users::new().with("joe", "secret").unwrap();
    let http = ServiceBuilder::new()
        .layer(HttpConnectLayer::open())
        .layer(ConnectLayer::new(direct()))
        .service(Relay::new());
    let hops = [
        Proxy::spawn(socks().with_auth(AuthenticateLayer::password(users))).await,
        Proxy::spawn(http).await,
        Proxy::spawn(socks()).await,
    ];
    let addrs = hops.each_ref().map(|hop| hop.addr().to_string()).join(",");

    let trace = env::temp_dir().join(format!("socks-tests-chain-{}", std::process::id()));
    let calls = "trace=splice,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg";
    let mut traced = Command::new("strace")
        .args(["-f", "-qq", "-e", calls, "-o"])
        .arg(&trace)
        .arg(env::current_exe().unwrap())
        .args(["--exact", "chain::hop", "--ignored", "--nocapture"])
        .env(HOPS, addrs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("apt-get install strace");
    let mut lines = BufReader::new(traced.stdout.take().unwrap()).lines();
    let addr = loop {
        let line = patiently("the hop's address", lines.next_line()).await;
        if let Some(addr) = line.unwrap().unwrap().strip_prefix(LISTENING) {
            break addr.to_owned();
        }
    };

    let origin = Origin::serve(V4, |mut stream| async move {
        for chunk in PAGE.chunks() {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &chunk).await;
        }
    })
    .await;
    let mut tunnel = TcpStream::connect(addr).await.unwrap();
    let target = format!("localhost:{}", origin.port()).parse().unwrap();
    connect(&mut tunnel, Offer::none(), target).await.unwrap();
    let mut page = Vec::with_capacity(PAGE.len());
    patiently("the page", tunnel.read_to_end(&mut page))
        .await
        .unwrap();
    PAGE.assert_is(&page);

    drop((tunnel, traced.stdin.take()));
    patiently("the end of the hop", traced.wait())
        .await
        .unwrap();
    let text = fs::read_to_string(&trace).unwrap();
    let moved = moved(&text);
    fs::remove_file(&trace).unwrap();
    let (calls, spliced) = moved["splice"];
    let otherwise: usize = moved.values().map(|(_, bytes)| bytes).sum::<usize>() - spliced;
    // Into a pipe, and out of it; but for the first bytes, before it is known as bulk.
    let few = PAGE.len() / 64;
    assert!(spliced > 2 * (PAGE.len() - few), "{moved:?}");
    assert!(otherwise < few, "{moved:?}");
    assert!(calls < spliced / 65_536, "{moved:?}");
}

/// How often each system call was made, and how many bytes it moved.
fn moved(trace: &str) -> BTreeMap<&str, (usize, usize)> {
    let mut moved = BTreeMap::new();
    // 1234 splice(7, …) = 65536, or 1234 <... splice resumed>…) = 65536
    for line in trace.lines() {
        let Some((called, returned)) = line.rsplit_once(" = ") else {
            continue;
        };
        let called = called.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let called = called.trim_start_matches("<... ");
        let end = called.find([' ', '(']).unwrap_or(called.len());
        let (count, bytes) = moved.entry(&called[..end]).or_insert((0, 0));
        *count += 1;
        *bytes += returned.trim().parse().unwrap_or(0);
    }
    moved
}
