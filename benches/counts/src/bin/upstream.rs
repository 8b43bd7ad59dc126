//! What it takes to dial a SOCKS5 proxy and to be let through: ours, hyper-util's
//! connector and tokio-socks, each on the same loopback, to the same script.
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
    net::{SocketAddr, TcpListener},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};
use hyper_util::client::legacy::connect::{HttpConnector, proxy::SocksV5};
use socks_tower::{
    Command as Socks, Credentials, Keepalive, Request, Session, Socks5Connector, Target,
    TcpConnector, works::upstream::direct,
};
use tower::{Layer, ServiceExt};

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

/// Each connects so often in the shorter run, and so often more in the longer one.
const FEW: u32 = 50;
const MORE: u32 = 200;

const TARGET: &str = "192.0.2.1:80";
const WAYS: [&str; 4] = ["ours", "ours-bare", "hyper-util", "tokio-socks"];

fn main() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["compare"] => compare(),
        [way, password, count, proxy] => {
            run(way, password == "password", count.parse()?, proxy.parse()?)
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
            let greeting = client.read(&mut heard)?;
            let with_password = heard.get(2..greeting).is_some_and(|it| it.contains(&2));
            client.write_all(&[5, if with_password { 2 } else { 0 }])?;
            if with_password {
                client.read(&mut heard)?;
                client.write_all(&[1, 0])?;
            }
            client.read(&mut heard)?;
            client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 4, 56])?;
            // Until it hangs up.
            while client.read(&mut heard)? > 0 {}
        }
        Ok::<_, std::io::Error>(())
    });
    Ok(addr)
}

/// Connects `count` times by `way`, and prints the allocations of each.
fn run(way: &str, password: bool, count: u32, proxy: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _profiler = dhat::Profiler::builder().testing().build();
    runtime.block_on(async {
        let mut warm = 0;
        for turn in 0..=count {
            if turn == 1 {
                warm = dhat::HeapStats::get().total_blocks;
            }
            connect(way, password, proxy).await?;
        }
        let blocks = dhat::HeapStats::get().total_blocks - warm;
        println!("{:.2}", blocks as f64 / f64::from(count));
        Ok(())
    })
}

async fn connect(way: &str, password: bool, proxy: SocketAddr) -> Result<()> {
    match way {
        "ours" | "ours-bare" => {
            // Without the options of sockets that the others do not set.
            let bare = TcpConnector::new()
                .with_nodelay(false)
                .with_keepalive(Keepalive::Off);
            let bare =
                socks_tower::ResolveLayer::new(socks_tower::SystemResolver::new()).layer(bare);
            let inner = if way == "ours" { direct() } else { bare };
            let mut connector = Socks5Connector::new(proxy.into(), inner);
            if password {
                connector = connector.with_credentials(Credentials::new("joe", "secret")?);
            }
            let target = TARGET.parse::<Target>()?;
            let request = Request::new(Session::new(), Socks::CONNECT, target);
            drop(connector.oneshot(request).await?);
        }
        "hyper-util" => {
            let mut connector =
                SocksV5::new(format!("http://{proxy}").parse()?, HttpConnector::new());
            if password {
                connector = connector.with_auth("joe".into(), "secret".into());
            }
            let stream = connector.oneshot(format!("http://{TARGET}").parse()?).await;
            drop(stream.map_err(|error| anyhow::anyhow!("{error}"))?);
        }
        "tokio-socks" => {
            use tokio_socks::tcp::Socks5Stream;
            let target = TARGET.parse::<SocketAddr>()?;
            if password {
                drop(Socks5Stream::connect_with_password(proxy, target, "joe", "secret").await?);
            } else {
                drop(Socks5Stream::connect(proxy, target).await?);
            }
        }
        other => bail!("no way {other}"),
    }
    Ok(())
}

fn compare() -> Result<()> {
    let proxy = serve()?.to_string();
    let own = env::current_exe()?.display().to_string();
    println!(
        "| of a connection | system calls | instructions | allocations |\n|---|---:|---:|---:|"
    );
    for password in ["open", "password"] {
        for way in WAYS {
            let args = |count: u32| {
                [
                    way.to_owned(),
                    password.to_owned(),
                    count.to_string(),
                    proxy.clone(),
                ]
            };
            let each = |count: fn(&str, &[String]) -> Result<u64>| {
                let (few, more) = (count(&own, &args(FEW))?, count(&own, &args(FEW + MORE))?);
                Ok::<_, anyhow::Error>(more.saturating_sub(few) as f64 / f64::from(MORE))
            };
            let (calls, instructions) = (each(calls)?, each(instructions)?);
            let allocations = Command::new(&own).args(args(MORE)).output()?.stdout;
            let allocations = String::from_utf8(allocations)?;
            println!(
                "| {way}, {password} | {calls:.2} | {instructions:.0} | {} |",
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
