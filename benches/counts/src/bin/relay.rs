//! The relay alone: one tunnel between two loopback connections, by copying and
//! by `splice(2)`, with the CPU time of the relay's own thread.
//!
//! ```sh
//! cargo run --release -p counts --bin relay -- [ROUNDS [MIB]]
//! ```

use std::{
    env,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    net::{RecvFlags, recv},
    time::{ClockId, clock_gettime},
};
use socks_tower::{
    BoxStream, ClientStream, Command, ConnectLayer, Inbound, Relay, Request, Requested, Session,
    Target, Version,
};
use tower::{Layer, Service, service_fn};

const GIB: f64 = (1 << 30) as f64;

fn main() -> Result<()> {
    let mut args = env::args().skip(1).map(|arg| arg.parse::<u32>());
    let rounds = args.next().transpose()?.unwrap_or(5).max(1);
    let mib = args.next().transpose()?.unwrap_or(1024).max(1);
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        // Who goes first changes.
        for way in 0..2 {
            let copy = (round + way) % 2 == 0;
            taken[usize::from(copy)].push(tunnel(copy, u64::from(mib) << 20)?);
        }
    }
    println!("| relay | GiB/s | CPU s/GiB |\n|---|---:|---:|");
    for (name, taken) in ["splice", "copy"].into_iter().zip(&taken) {
        let rate = median(
            taken
                .iter()
                .map(|it| it.bytes / GIB / it.time.as_secs_f64()),
        );
        let cpu = median(
            taken
                .iter()
                .map(|it| it.cpu.as_secs_f64() / (it.bytes / GIB)),
        );
        println!("| {name} | {rate:.2} | {cpu:.3} |");
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

struct Taken {
    bytes: f64,
    time: Duration,
    cpu: Duration,
}

/// Sends `bytes` from the client to the target.
fn tunnel(copy: bool, bytes: u64) -> Result<Taken> {
    let front = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let back = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = TcpStream::connect(front.local_addr()?)?;
    let (accepted, _) = front.accept()?;
    let upstream = TcpStream::connect(back.local_addr()?)?;
    let (target, _) = back.accept()?;
    accepted.set_nonblocking(true)?;
    upstream.set_nonblocking(true)?;

    let relay = thread::spawn(move || relay(accepted, upstream, copy));
    let sender = thread::spawn(move || {
        // The reply: left unread, it would make the close a reset.
        client.read_exact(&mut [0; 10])?;
        let chunk = vec![7; 256 * 1024];
        let mut left = bytes;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            client.write_all(&chunk[..len])?;
            left -= len as u64;
        }
        io::Result::Ok(())
    });
    let began = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    let mut received = 0;
    loop {
        // Discarded by the kernel: what the receiver does is no matter here.
        match recv(&target, &mut *buffer, RecvFlags::TRUNC)? {
            (_, 0) => break,
            (_, len) => received += len as u64,
        }
    }
    let time = began.elapsed();
    drop(target);
    sender.join().ok().context("the sender")??;
    let cpu = relay.join().ok().context("the relay")??;
    anyhow::ensure!(received == bytes, "{received} of {bytes} bytes");
    Ok(Taken {
        bytes: bytes as f64,
        time,
        cpu,
    })
}

/// Relays until both sides are done; gives the CPU time that it took.
fn relay(accepted: TcpStream, upstream: TcpStream, copy: bool) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let accepted = tokio::net::TcpStream::from_std(accepted)?;
        // The relay splices only what it can see to be a socket.
        let accepted = match copy {
            true => ClientStream::wrapped(BoxStream::new(accepted)),
            false => ClientStream::plain(accepted),
        };
        let upstream = tokio::net::TcpStream::from_std(upstream)?;
        // A work is cloned before it is called, and there is one socket.
        let upstream = Arc::new(Mutex::new(Some(upstream)));
        let connector = service_fn(move |_: Request| {
            let upstream = upstream.lock().ok().and_then(|mut it| it.take());
            async move { upstream.ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
        });
        let mut stack = ConnectLayer::new(connector).layer(Relay::new());
        let requested = Requested::new(
            Inbound::new(accepted, Vec::new(), Version::Socks5),
            Request::new(Session::new(), Command::CONNECT, Target::UNSPECIFIED),
        );
        let before = clock_gettime(ClockId::ThreadCPUTime);
        let transfer = stack.call(requested).await?;
        let after = clock_gettime(ClockId::ThreadCPUTime);
        anyhow::ensure!(transfer.up > 0, "nothing was carried");
        Duration::try_from(after - before).context("the clock")
    })
}
