//! What it takes to dial a SOCKS5 proxy and to be let through: our connector, our
//! handshake on a socket of Tokio's, hyper-util's connector and tokio-socks, each on the
//! same loopback, to the same script.
//!
//! ```sh
//! cargo run --release -p counts --bin upstream -- compare
//! ```
//!
//! `compare` runs each under `strace` and valgrind, twice: with few connections and with
//! more. The difference is what a connection takes, whatever a program takes to start.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use http::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, proxy::SocksV5};
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle};
use socks_tower::{
    Command as Socks, Connector, Credentials, Keepalive, Request, ResolveLayer, Session,
    Socks5Connector, SystemResolver, Target, TcpConnector,
    works::upstream::{Offer, connect},
};
use tokio::{net::TcpSocket, time::timeout};
use tokio_socks::tcp::Socks5Stream;
use tower::{Layer, ServiceExt};

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

/// Each connects so often in the shorter run, and so often more in the longer one.
const FEW: u32 = 50;
const MORE: u32 = 200;

/// After which the kernel asks a peer whether it is still there.
const SILENCE: Duration = Duration::from_secs(60);

/// Within which a careful user wants to be let through.
const TIMEOUT: Duration = Duration::from_secs(30);

const TARGET: &str = "192.0.2.1:80";
const NAME: &str = "example.com:80";
const WAYS: [&str; 5] = [
    "ours",
    "ours, no deadline",
    "ours, on a socket",
    "hyper-util",
    "tokio-socks",
];
const PASSWORD: [&str; 2] = ["open", "password"];
/// Sockets as the system makes them, and no deadline but ours; or without Nagle's delay,
/// and kept alive, which ours sets unless it is told not to; or as careful users have it:
/// without Nagle's delay, with a deadline, and names looked up by the proxy.
const OPTIONS: [&str; 3] = ["bare", "options", "careful"];

fn main() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["compare"] => compare(),
        [way, password, options, count, proxy] => {
            let case = Case {
                password: password == PASSWORD[1],
                nodelay: options != OPTIONS[0],
                keepalive: options == OPTIONS[1],
                careful: options == OPTIONS[2],
            };
            run(way, case, count.parse()?, proxy.parse()?)
        }
        _ => bail!("compare, or a way"),
    }
}

/// Lets everybody in, by password if it is offered, and grants all.
fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client?;
            client.set_nodelay(true)?;
            let mut heard = [0; 512];
            // A network takes its time too: nobody finds an answer by looking at once.
            let answer = |client: &mut TcpStream, bytes: &[u8]| {
                thread::sleep(Duration::from_millis(1));
                client.write_all(bytes)
            };
            let greeting = client.read(&mut heard)?;
            let with_password = heard.get(2..greeting).is_some_and(|it| it.contains(&2));
            answer(&mut client, &[5, if with_password { 2 } else { 0 }])?;
            // Each message comes in one piece, and what it says is known.
            if with_password {
                let _ = client.read(&mut heard)?;
                answer(&mut client, &[1, 0])?;
            }
            let _ = client.read(&mut heard)?;
            answer(&mut client, &[5, 0, 0, 1, 127, 0, 0, 1, 4, 56])?;
            // Until it hangs up.
            while client.read(&mut heard)? > 0 {}
        }
        Ok::<_, std::io::Error>(())
    });
    Ok(addr)
}

#[derive(Clone, Copy)]
struct Case {
    password: bool,
    nodelay: bool,
    keepalive: bool,
    careful: bool,
}

/// Connects `count` times by `way`, and prints the allocations of each if it is to
/// count them.
fn run(way: &str, case: Case, count: u32, proxy: SocketAddr) -> Result<()> {
    let Case {
        password,
        nodelay,
        keepalive,
        careful,
    } = case;
    let host = if careful { NAME } else { TARGET };
    // Of a connector that is there already, as of all of them.
    let target = host.parse::<Target>()?;
    match way {
        "ours" | "ours, no deadline" => {
            let mut tcp = TcpConnector::new().with_nodelay(nodelay);
            if !keepalive {
                tcp = tcp.with_keepalive(Keepalive::Off);
            }
            let to_proxy = ResolveLayer::new(SystemResolver::new()).layer(tcp);
            let mut connector = ours(to_proxy, password, proxy)?;
            if way != "ours" {
                connector = connector.with_timeout(None);
            }
            repeat(count, || through(connector.clone(), target.clone()))
        }
        "hyper-util" => {
            let proxy = format!("http://{proxy}").parse()?;
            let mut to_proxy = HttpConnector::new();
            to_proxy.set_nodelay(nodelay);
            to_proxy.set_keepalive(keepalive.then_some(SILENCE));
            let mut connector = SocksV5::new(proxy, to_proxy);
            if password {
                connector = connector.with_auth("joe".into(), "secret".into());
            }
            let target: Uri = format!("http://{host}").parse()?;
            let connect = || {
                let connecting = connector.clone().oneshot(target.clone());
                async {
                    connecting
                        .await
                        .map(drop)
                        .map_err(|error| anyhow!("{error}"))
                }
            };
            repeat_in_time(careful, count, connect)
        }
        "ours, on a socket" => {
            let offer = match password {
                true => Offer::password(Credentials::new("joe", "secret")?).or(Offer::none()),
                false => Offer::none(),
            };
            let through = async || {
                let mut stream = dial(case, proxy).await?;
                connect(&mut stream, offer.clone(), target.clone()).await?;
                Ok(())
            };
            repeat_in_time(careful, count, through)
        }
        "tokio-socks" => {
            let target = TARGET.parse::<SocketAddr>()?;
            let connect = async || {
                let stream = dial(case, proxy).await?;
                let (name, secret) = ("joe", "secret");
                type Stream = Socks5Stream<tokio::net::TcpStream>;
                match (password, careful) {
                    (false, false) => Stream::connect_with_socket(stream, target).await?,
                    (false, true) => Stream::connect_with_socket(stream, NAME).await?,
                    (true, false) => {
                        Stream::connect_with_password_and_socket(stream, target, name, secret)
                            .await?
                    }
                    (true, true) => {
                        Stream::connect_with_password_and_socket(stream, NAME, name, secret).await?
                    }
                };
                Ok(())
            };
            repeat_in_time(careful, count, connect)
        }
        other => bail!("no way {other}"),
    }
}

/// Tokio's socket, with the options of the case.
async fn dial(case: Case, proxy: SocketAddr) -> Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if case.nodelay {
        socket.set_nodelay(true)?;
    }
    if case.keepalive {
        set_socket_keepalive(&socket, true)?;
        set_tcp_keepidle(&socket, SILENCE)?;
    }
    Ok(socket.connect(proxy).await?)
}

fn ours<C>(inner: C, password: bool, proxy: SocketAddr) -> Result<Socks5Connector<C>> {
    let connector = Socks5Connector::new(proxy.into(), inner);
    Ok(match password {
        true => connector.with_credentials(Credentials::new("joe", "secret")?),
        false => connector,
    })
}

async fn through(connector: impl Connector<Request>, target: Target) -> Result<()> {
    let request = Request::new(Session::new(), Socks::CONNECT, target);
    let connected = connector.run(request).await;
    connected.map(drop).map_err(|error| anyhow!(error))
}

/// For those that have no deadline of their own: with one for each, if they are careful.
fn repeat_in_time<F: Future<Output = Result<()>>>(
    careful: bool,
    count: u32,
    connect: impl Fn() -> F,
) -> Result<()> {
    match careful {
        false => repeat(count, connect),
        true => repeat(count, async || timeout(TIMEOUT, connect()).await?),
    }
}

fn repeat<F: Future<Output = Result<()>>>(count: u32, connect: impl Fn() -> F) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let counted = env::var_os("COUNT_ALLOCATIONS").is_some();
    // It costs more than what it counts.
    let _profiler = counted.then(|| dhat::Profiler::builder().testing().build());
    let blocks = || {
        if counted {
            dhat::HeapStats::get().total_blocks
        } else {
            0
        }
    };
    runtime.block_on(async {
        connect().await?;
        let before = blocks();
        for _ in 0..count {
            connect().await?;
        }
        println!("{:.2}", (blocks() - before) as f64 / f64::from(count));
        Ok(())
    })
}

fn compare() -> Result<()> {
    let proxy = serve()?.to_string();
    let own = env::current_exe()?.display().to_string();
    println!(
        "| of a connection | system calls | instructions | allocations |\n|---|---:|---:|---:|"
    );
    for (password, options) in PASSWORD
        .into_iter()
        .flat_map(|it| OPTIONS.map(|of| (it, of)))
    {
        for way in WAYS {
            if way == WAYS[1] && options == OPTIONS[2] {
                continue;
            }
            let args = |count: u32| {
                let case = [way, password, options].map(str::to_owned);
                [&case[..], &[count.to_string(), proxy.clone()]].concat()
            };
            let each = |count: fn(&str, &[String]) -> Result<u64>| {
                let (few, more) = (count(&own, &args(FEW))?, count(&own, &args(FEW + MORE))?);
                Ok::<_, anyhow::Error>(more.saturating_sub(few) as f64 / f64::from(MORE))
            };
            let (calls, instructions) = (each(calls)?, each(instructions)?);
            let mut counting = Command::new(&own);
            counting.args(args(MORE)).env("COUNT_ALLOCATIONS", "1");
            let allocations = counting.output()?.stdout;
            let allocations = String::from_utf8(allocations)?;
            println!(
                "| {way}, {password}, {options} | {calls:.2} | {instructions:.0} | {} |",
                allocations.trim()
            );
        }
    }
    Ok(())
}

/// System calls, of all threads.
fn calls(own: &str, args: &[String]) -> Result<u64> {
    let file = env::temp_dir().join(format!("upstream.{}.strace", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&file)
        .arg(own)
        .args(args)
        .output()
        .context("strace")?;
    anyhow::ensure!(status.status.success(), "{status:?}");
    let trace = std::fs::read_to_string(&file)?;
    if env::var_os("KEEP").is_none() {
        std::fs::remove_file(&file)?;
    }
    // One that another thread interrupts takes two lines.
    let is_call = |line: &&str| !line.contains(" resumed>") && line.contains('(');
    Ok(trace.lines().filter(is_call).count() as u64)
}

/// Instructions in user space, of all threads.
fn instructions(own: &str, args: &[String]) -> Result<u64> {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", own])
        .args(args)
        .output()
        .context("valgrind")?;
    let text = String::from_utf8_lossy(&out.stderr);
    let line = text.lines().find(|line| line.contains("Collected :"));
    let number = line.and_then(|line| line.rsplit(' ').next());
    number.context("a sum")?.parse().context("a sum")
}
