//! Redis, on a free port of 127.0.0.1.

use std::{
    env, fs,
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::sleep,
};

use crate::{
    patiently,
    program::{Ran, run},
};

/// A `redis-server`, and its folder. Both go when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    addr: SocketAddr,
    folder: PathBuf,
    args: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts one that keeps nothing when it ends.
    pub async fn start() -> Self {
        Self::start_with(&["--save", ""]).await
    }

    /// Starts one that keeps all that it was told.
    pub async fn start_keeping() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "yes"]).await
    }

    /// Starts one with `args` besides, in which `{folder}` is a folder of its own,
    /// and `{port}` its port.
    pub async fn start_with(args: &[&str]) -> Self {
        let mut server = Self::prepare(args).await;
        server.start_again().await;
        server
    }

    /// As [`start_with`](Self::start_with), but for the start: there are a port and a
    /// folder.
    pub async fn prepare(args: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("socks-redis-{}-{number}", std::process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        // It was free a moment ago; nobody else here asks for this one.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = folder.display().to_string();
        let addr = free.local_addr().unwrap();
        let port = addr.port().to_string();
        let fill = |arg: &&str| arg.replace("{folder}", &place).replace("{port}", &port);
        let args = args.iter().map(fill);
        Self {
            addr,
            args: args.collect(),
            folder,
            process: None,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its URL, without a password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Starts it, on the same port, once it was ended.
    pub async fn start_again(&mut self) {
        let port = self.addr.port().to_string();
        // Port 0 is what a server of TLS alone asks for.
        let own = match self.args.iter().any(|arg| arg == "--port") {
            true => vec![],
            false => vec!["--port", &port],
        };
        let log = || match env::var_os("SOCKS_TESTS_LOUD") {
            Some(_) => Stdio::inherit(),
            None => Stdio::null(),
        };
        let process = Command::new("redis-server")
            .args(own)
            .args(["--bind", "127.0.0.1", "--daemonize", "no"])
            .arg("--dir")
            .arg(&self.folder)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .kill_on_drop(true)
            .spawn()
            .expect("apt-get install redis-server");
        self.process = Some(process);
        let listens = async {
            while tokio::net::TcpStream::connect(self.addr).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        patiently("the start of redis-server", listens).await;
    }

    /// Ends it, by SIGTERM. What it keeps stays in its folder.
    pub async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let mut process = self.process.take().expect("it runs");
        let ended = patiently("the end of redis-server", process.wait()).await;
        ended.unwrap();
    }

    /// Stops it, by SIGSTOP: it takes connections, and answers nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on, by SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        let pid = process.id().expect("it has not been waited for");
        let pid = Pid::from_raw(pid.cast_signed()).expect("it has one");
        kill_process(pid, signal).expect("it has not been waited for");
    }

    /// What it answers to a command, as `redis-cli` writes it for programs.
    pub async fn ask(&self, command: &[&str]) -> String {
        let port = self.addr.port().to_string();
        let args = [&["-p", &port, "-e"], command].concat();
        let ran: Ran = run("redis-cli", "redis-tools", &args).await;
        let answer = String::from_utf8(ran.expect_success()).unwrap();
        answer.trim_end_matches('\n').to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
