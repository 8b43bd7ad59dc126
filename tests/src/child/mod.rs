//! The program `socks-proxy`, run as a user runs it.

mod binary;

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{ChildStderr, Command},
    task::JoinHandle,
    time::{Instant, sleep},
};

pub use binary::path;

use crate::{
    PATIENCE, patiently,
    program::{self, Ran},
};

/// A running `socks-proxy`. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    pid: Pid,
    addrs: Vec<SocketAddr>,
    log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Child {
    /// Starts it on a free port of 127.0.0.1, with `args` besides.
    pub async fn start(args: &[&str]) -> Self {
        Self::start_as(&[&["--listen", "127.0.0.1:0"], args].concat()).await
    }

    /// As [`start`](Self::start), in a [sandbox](crate::sandbox) that refuses
    /// system calls by `rules`.
    #[cfg(target_os = "linux")]
    pub async fn start_refusing(rules: &[&str], args: &[&str]) -> Self {
        let sandbox = crate::sandbox::refusing(rules, path());
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        Self::spawn(with_args(sandbox.into(), &args), &args).await
    }

    /// As [`start`](Self::start), with a `library` preloaded (`LD_PRELOAD`).
    #[cfg(target_os = "linux")]
    pub async fn start_preloading(library: &std::path::Path, args: &[&str]) -> Self {
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        let mut command = command(&args);
        command.env("LD_PRELOAD", library);
        Self::spawn(command, &args).await
    }

    /// As [`start`](Self::start), on a system that trusts the certificates in the file
    /// `pem` alone.
    pub async fn start_trusting(pem: &std::path::Path, args: &[&str]) -> Self {
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        let mut command = command(&args);
        command.env("SSL_CERT_FILE", pem);
        Self::spawn(command, &args).await
    }

    /// Starts it with `args` and no others.
    pub async fn start_as(args: &[&str]) -> Self {
        Self::spawn(command(args), args).await
    }

    /// As [`start`](Self::start), with variables of the environment.
    pub async fn start_with_env(variables: &[(&str, &str)], args: &[&str]) -> Self {
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        let mut command = command(&args);
        command.envs(variables.iter().copied());
        Self::spawn(command, &args).await
    }

    /// As [`start_as`](Self::start_as), with a socket that a service manager has opened.
    pub async fn start_passing(socket: std::net::TcpListener, name: &str, args: &[&str]) -> Self {
        Self::spawn(passing(socket, name, args), args).await
    }

    /// As [`start`](Self::start), with no more than `most` descriptors.
    pub async fn start_with_descriptors(most: usize, args: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &most.to_string()]);
        shell.arg(path());
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        Self::spawn(with_args(shell, &args), &args).await
    }

    /// As [`start`](Self::start), with the log left in its pipe, which nobody
    /// reads.
    pub async fn start_unread(args: &[&str]) -> (Self, ChildStderr) {
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        let (mut child, stderr) = Self::spawn_unread(command(&args));
        child.listening(&args).await;
        (child, stderr)
    }

    async fn spawn(command: Command, args: &[&str]) -> Self {
        let (mut child, stderr) = Self::spawn_unread(command);
        child.reading = tokio::spawn(read(stderr, child.log.clone()));
        child.listening(args).await;
        child
    }

    fn spawn_unread(mut command: Command) -> (Self, ChildStderr) {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = process
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let pid = pid.expect("it has not been waited for");
        let stderr = process.stderr.take().expect("piped");
        let child = Self {
            process,
            pid,
            addrs: Vec::new(),
            log: Arc::default(),
            reading: tokio::spawn(async {}),
        };
        (child, stderr)
    }

    /// Waits until it says where it listens.
    async fn listening(&mut self, args: &[&str]) {
        let stdout = self.process.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = patiently("the start of socks-proxy", lines.next_line()).await;
        let Some(line) = line.unwrap() else {
            let _ = (&mut self.reading).await;
            panic!("socks-proxy {args:?} ended: {}", self.log());
        };
        let addrs = line.strip_prefix("listening on ").expect(&line);
        // Unix sockets have paths.
        let addrs = addrs.split(", ").filter(|addr| !addr.starts_with("unix:"));
        let addrs = addrs.map(|addr| addr.parse().expect(&line));
        self.addrs = addrs.collect();
    }

    /// Where it listens: the first address, if there are several.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// All addresses where it listens.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// What it has logged by now.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until `text` stands in its log.
    pub async fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in: {}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("it runs, or has not been waited for");
    }

    /// Waits until it ends; returns how, and its whole log.
    pub async fn wait(mut self) -> (ExitStatus, String) {
        let status = patiently("the end of socks-proxy", self.process.wait()).await;
        patiently("its log", &mut self.reading).await.unwrap();
        (status.unwrap(), self.log())
    }
}

/// Runs it until it ends by itself, which it should do at once.
pub async fn run(args: &[&str]) -> Ran {
    program::run_command(command(args), "nothing: it is in this workspace").await
}

/// As [`run`], in a [sandbox](crate::sandbox) that refuses system calls by
/// `rules`.
#[cfg(target_os = "linux")]
pub async fn run_refusing(rules: &[&str], args: &[&str]) -> Ran {
    let sandbox = crate::sandbox::refusing(rules, path());
    program::run_command(with_args(sandbox.into(), args), "nothing").await
}

/// As [`run`], with a socket that a service manager has opened; returns its exit code and
/// what it says.
pub async fn run_passing(
    socket: std::net::TcpListener,
    name: &str,
    args: &[&str],
) -> (Option<i32>, String) {
    let ended = passing(socket, name, args).output();
    let ended = patiently("the end of socks-proxy", ended).await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    (ended.status.code(), said.into_owned())
}

fn passing(socket: std::net::TcpListener, name: &str, args: &[&str]) -> Command {
    // It comes as descriptor 0, and is to be the first behind the standard ones.
    const PASS: &str = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$; exec "$@""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", PASS, "sh"]).arg(path());
    let mut shell = with_args(shell, args);
    shell.envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", name)]);
    shell.stdin(std::os::fd::OwnedFd::from(socket));
    shell
}

fn command(args: &[&str]) -> Command {
    with_args(Command::new(path()), args)
}

fn with_args(mut command: Command, args: &[&str]) -> Command {
    command
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Keeps the pipe empty, or the proxy would wait for us to read.
async fn read(mut stderr: ChildStderr, log: Arc<Mutex<String>>) {
    let mut bytes = vec![0; 65_536];
    while let Ok(len @ 1..) = stderr.read(&mut bytes).await {
        let text = String::from_utf8_lossy(&bytes[..len]);
        log.lock().unwrap().push_str(&text);
    }
}
