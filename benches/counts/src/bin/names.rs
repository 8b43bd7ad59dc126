//! What ten thousand names cost whose server never answers, and how long another
//! client's name takes meanwhile.
//!
//! ```sh
//! cargo run --release -p counts --bin names
//! ```

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use socks_tower::{
    BoxError, Command, DnsResolver, DnsServer, DomainName, Request, Session, works::resolve::Answer,
};
use tokio::{task::JoinSet, time::sleep};
use tower::ServiceExt;

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

const PENDING: usize = 10_000;

/// Names that are answered, one after the other.
const QUICK: usize = 200;

/// By then all have been asked for, or all is cleared away.
const SETTLED: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let server = serve()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let resolver = DnsResolver::new([DnsServer::new(server)])
            .with_hosts_file(false)
            .with_search([], 1)
            .with_timeout(Duration::from_secs(60));
        time(&resolver).await?;
        let _profiler = dhat::Profiler::builder().testing().build();
        println!("\n| | heap, bytes | descriptors |\n|---|---:|---:|");
        // The second time shows what is kept and what is lost.
        for _ in 0..2 {
            show("before")?;
            let mut pending = slow(&resolver)?;
            sleep(SETTLED).await;
            show("pending")?;
            anyhow::ensure!(pending.len() == PENDING && pending.try_join_next().is_none());
            pending.shutdown().await;
            sleep(SETTLED).await;
            show("after")?;
        }
        Ok(())
    })
}

type Pending = JoinSet<Result<Answer, BoxError>>;

/// Asks for names that are never answered.
fn slow(resolver: &DnsResolver) -> Result<Pending> {
    let mut pending = JoinSet::new();
    for number in 0..PENDING {
        let asked = ask(&format!("slow{number}.example"), [192, 0, 2, 1])?;
        pending.spawn(resolver.clone().oneshot(asked));
    }
    Ok(pending)
}

/// How long another client's names take beside them.
async fn time(resolver: &DnsResolver) -> Result<()> {
    let mut pending = slow(resolver)?;
    sleep(SETTLED).await;
    let mut times = Vec::new();
    for number in 0..QUICK {
        let asked = ask(&format!("quick{number}.example"), [192, 0, 2, 2])?;
        let began = Instant::now();
        let answer = resolver.clone().oneshot(asked).await;
        answer.ok().context("no answer")?;
        times.push(began.elapsed());
    }
    anyhow::ensure!(pending.try_join_next().is_none());
    pending.shutdown().await;
    times.sort();
    let median = times.get(QUICK / 2).context("none")?;
    let longest = times.last().context("none")?;
    println!("another client's name: median {median:?}, longest {longest:?}");
    Ok(())
}

fn ask(name: &str, client: [u8; 4]) -> Result<Request<DomainName>> {
    let session = Session::new().with_client_addr((client, 1).into());
    let name = DomainName::new(name)?;
    Ok(Request::new(session, Command::CONNECT, name))
}

fn show(when: &str) -> Result<()> {
    let heap = dhat::HeapStats::get().curr_bytes;
    let descriptors = fs::read_dir("/proc/self/fd")?.count();
    println!("| {when} | {heap} | {descriptors} |");
    Ok(())
}

/// Answers what is asked for `quick…` with 127.0.0.1, or with nothing for IPv6.
fn serve() -> Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let addr = socket.local_addr()?;
    thread::spawn(move || -> std::io::Result<()> {
        let mut query = [0; 512];
        loop {
            let (len, client) = socket.recv_from(&mut query)?;
            let query = query.get(..len).unwrap_or_default();
            if let Some(reply) = answer(query) {
                socket.send_to(&reply, client)?;
            }
        }
    });
    Ok(addr)
}

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let behind = query.get(12..)?;
    let labels = behind.iter().position(|byte| *byte == 0)?;
    let question = behind.get(..labels + 5)?;
    if !question.get(1..)?.starts_with(b"quick") {
        return None;
    }
    let is_v4 = question.get(labels + 2) == Some(&1);
    let mut reply = query.get(..2)?.to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, is_v4.into(), 0, 0, 0, 0]);
    reply.extend(question);
    if is_v4 {
        // The name of the question, A, IN, a minute, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(reply)
}
