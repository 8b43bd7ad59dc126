//! A proxy under test: a process, and all that it starts.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, DirEntry},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::{time::clock_getcpuclockid, unistd};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The user that clients give where a proxy asks.
pub(crate) const USER: (&str, &str) = ("bench", "bench");

#[derive(Args)]
pub(crate) struct List {
    /// A proxy: a command with {port} in it, where it must listen on 127.0.0.1.
    /// {self} is this program. `bare` and `all` are compared with one another
    /// alone; `limited` must let through 10 MB/s
    #[arg(long = "proxy", value_name = "NAME=COMMAND")]
    open: Vec<String>,
    /// The same proxy, asking for user bench and password bench
    #[arg(long = "with-password", value_name = "NAME=COMMAND")]
    password: Vec<String>,
}

/// What a proxy is measured for: its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ours or a peer: for all that a proxy does.
    Proxy,
    /// `limit-…`: for what the kernel allows with one thread.
    Floor,
    /// `bare` and `all`, which differ by middleware: for what that costs.
    Middleware,
    /// `limited`, to 10 MB/s each way: for what it lets through.
    Limited,
}

impl Role {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "bare" | "all" => Self::Middleware,
            "limited" => Self::Limited,
            name if name.starts_with("limit-") => Self::Floor,
            _ => Self::Proxy,
        }
    }
}

/// How a proxy is started.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    pub(crate) name: String,
    pub(crate) open: String,
    pub(crate) password: Option<String>,
}

impl Commands {
    pub(crate) fn role(&self) -> Role {
        Role::of(&self.name)
    }
}

impl List {
    pub(crate) fn commands(&self) -> Result<Vec<Commands>> {
        let split = |text: &str| {
            let (name, line) = text.split_once('=').context("NAME=COMMAND")?;
            anyhow::Ok((name.to_owned(), line.to_owned()))
        };
        let passwords: Vec<_> = self
            .password
            .iter()
            .map(|it| split(it))
            .collect::<Result<_>>()?;
        let commands = self.open.iter().map(|it| {
            let (name, open) = split(it)?;
            let password = passwords.iter().find(|(other, _)| *other == name);
            let password = password.map(|(_, line)| line.clone());
            Ok(Commands {
                name,
                open,
                password,
            })
        });
        commands.collect()
    }
}

pub(crate) struct Proxy {
    child: Child,
    pub(crate) addr: SocketAddrV4,
}

impl Proxy {
    /// Starts a proxy and waits until it accepts.
    pub(crate) fn start(line: &str) -> Result<Self> {
        let addr = free_port()?;
        let this = std::env::current_exe()?;
        let line = line
            .replace("{port}", &addr.port().to_string())
            .replace("{self}", &this.to_string_lossy());
        // The shell is replaced, so that the child is the proxy.
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("exec {line}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut proxy = Self { child, addr };
        let began = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = proxy.child.try_wait()? {
                bail!("`{line}` ended at once: {status}");
            }
            if began.elapsed() > Duration::from_secs(10) {
                bail!("`{line}` does not accept on {addr}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(50));
        Ok(proxy)
    }

    /// All of its processes.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids = vec![self.child.id().cast_signed()];
        let mut at = 0;
        while let Some(pid) = pids.get(at) {
            let threads = fs::read_dir(format!("/proc/{pid}/task"));
            let children = threads.into_iter().flatten().flatten().flat_map(|thread| {
                let children = fs::read_to_string(thread.path().join("children"));
                let pids = children.unwrap_or_default();
                let pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
                pids.collect::<Vec<_>>()
            });
            let children: Vec<i32> = children.collect();
            pids.extend(children);
            at += 1;
        }
        pids
    }

    /// CPU time of all its processes, those included that have ended and been
    /// waited for. Exact, but for the latter, which count in hundredths.
    pub(crate) fn cpu(&self) -> Duration {
        let cpu = |pid: &i32| {
            let clock = clock_getcpuclockid(unistd::Pid::from_raw(*pid)).ok()?;
            let own = Duration::from(clock.now().ok()?);
            Some(own + reaped(*pid).unwrap_or_default())
        };
        self.pids().iter().filter_map(cpu).sum()
    }

    /// CPU time of each thread that lives.
    pub(crate) fn threads(&self) -> BTreeMap<OsString, Duration> {
        let pids = self.pids().into_iter();
        let threads = pids.flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")));
        let cpu = |thread: DirEntry| Some((thread.file_name(), cpu_of_thread(&thread.path())?));
        threads.flatten().flatten().filter_map(cpu).collect()
    }
}

/// Of a thread, in nanoseconds, as of its last tick.
fn cpu_of_thread(folder: &Path) -> Option<Duration> {
    let stat = fs::read_to_string(folder.join("schedstat")).ok()?;
    let nanos = stat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// CPU time of the children that `pid` has waited for.
fn reaped(pid: i32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces; what counts comes after it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|it| it.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(10 * ticks))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Read before they end: orphans would not be found.
        let pids: Vec<_> = self.pids().into_iter().filter_map(Pid::from_raw).collect();
        for signal in [Signal::TERM, Signal::KILL] {
            for &pid in &pids {
                let _ = kill_process(pid, signal);
            }
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(500) {
                let gone = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
                if gone && pids.iter().all(|&pid| test_kill_process(pid).is_err()) {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on, out of the way of outgoing connections.
fn free_port() -> Result<SocketAddrV4> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..8000 {
        let own = u16::try_from(std::process::id() % 4000)?;
        let port = 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 8000;
        let addr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    bail!("no port is free")
}
