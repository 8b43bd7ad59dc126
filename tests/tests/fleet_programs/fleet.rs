//! `examples/fleet`, started by its own script.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};
use socks_tests::{
    child, patiently,
    program::{self, Ran},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::{Mutex, MutexGuard},
    time::{Duration, sleep},
};

/// One at a time: each wants both cores.
static TURN: Mutex<()> = Mutex::const_new(());

/// A fleet of the nodes `a` and `b`, which ends when this is dropped.
pub(crate) struct Fleet {
    run: Child,
    folder: PathBuf,
    port: u16,
    redis: Option<Child>,
    _turn: MutexGuard<'static, ()>,
}

impl Fleet {
    /// Starts it, with `flags` for both nodes, from a copy of its folder outside of the
    /// workspace.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.lock().await;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("socks-fleet-{}-{number}", std::process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fleet");
        for file in fs::read_dir(example).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), folder.join(file.file_name())).unwrap();
            }
        }
        let port = ports().await;
        let mut run = Self::script(&folder, port, "run");
        let log = fs::File::create(folder.join("run.log")).unwrap();
        let mut run = run
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        let fleet = Self {
            run,
            folder,
            port,
            redis: None,
            _turn: turn,
        };
        let line = patiently("the start of the fleet", lines.next_line()).await;
        let line = line.unwrap().unwrap_or_default();
        assert!(line.starts_with("ready: "), "{line}{}", fleet.logs());
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        fleet
    }

    fn script(folder: &Path, port: u16, name: &str) -> Command {
        let bin = child::path().parent().unwrap().display();
        let path = env::var("PATH").unwrap();
        let mut command = Command::new(folder.join(name));
        command
            .env("PATH", format!("{bin}:{path}"))
            .env("FLEET_PORT", port.to_string())
            .env_remove("FLEET_DIR")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    fn at(&self, offset: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + offset).into()
    }

    /// HAProxy.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.at(0)
    }

    /// The nodes' own addresses. Who comes from another address than 127.0.0.1 needs no
    /// header there.
    pub(crate) fn nodes(&self) -> [SocketAddr; 2] {
        [self.at(1), self.at(2)]
    }

    /// What both pages say.
    pub(crate) async fn pages(&self, path: &str) -> [String; 2] {
        [get(self.at(11), path).await, get(self.at(12), path).await]
    }

    /// Has the page of the first node end a session, of whichever node.
    pub(crate) async fn end(&self, id: &str) {
        let addr = self.at(11);
        let request = format!(
            "POST /api/sessions/{id}/end HTTP/1.1\r\nHost: {addr}\r\n\
             Content-Type: application/json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let said = ask(addr, &request).await;
        assert!(said.starts_with("HTTP/1.1 204"), "{said}");
    }

    pub(crate) fn logs(&self) -> String {
        let mut logs = String::new();
        for name in ["run.log", "state/a.log", "state/b.log", "state/haproxy.log"] {
            let log = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let warnings = log.lines().filter(|line| !line.contains("socks::access"));
            logs += &format!("\n{name}:\n");
            warnings.for_each(|line| logs += &format!("{line}\n"));
        }
        logs
    }

    pub(crate) fn log_of(&self, node: &str) -> String {
        fs::read_to_string(self.folder.join(format!("state/{node}.log"))).unwrap()
    }

    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        let pid = self.folder.join(format!("state/{name}.pid"));
        let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub(crate) async fn rolling_restart(&self) -> Ran {
        let script = Self::script(&self.folder, self.port, "rolling-restart");
        program::run_command(script, "bash").await
    }

    /// Ends Redis, in order.
    pub(crate) async fn end_redis(&mut self) {
        match &mut self.redis {
            Some(redis) => {
                let pid = Pid::from_raw(redis.id().unwrap().cast_signed()).unwrap();
                kill_process(pid, Signal::TERM).unwrap();
                redis.wait().await.unwrap();
            }
            None => self.signal("redis", Signal::TERM),
        }
        let gone = async {
            while TcpStream::connect(self.at(30)).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        patiently("the end of Redis", gone).await;
    }

    /// Starts it again, with all that it has kept, or without.
    pub(crate) async fn begin_redis(&mut self, keeps: bool) {
        let state = self.folder.join("state");
        if !keeps {
            fs::remove_dir_all(state.join("appendonlydir")).unwrap();
        }
        let password = fs::read_to_string(state.join("redis-password")).unwrap();
        let port = self.at(30).port().to_string();
        let redis = Command::new("redis-server")
            .arg(self.folder.join("redis.conf"))
            .args(["--port", &port, "--requirepass", password.trim()])
            .current_dir(state)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.redis = Some(redis.unwrap());
    }
}

impl Drop for Fleet {
    /// The script ends all that it has started.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        if let Some(pid) = self
            .run
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
        {
            let _ = kill_process(pid, Signal::TERM);
            for _ in 0..1000 {
                if !matches!(self.run.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The first of ports that were free a moment ago, all that the script takes.
async fn ports() -> u16 {
    const TAKEN: [u16; 8] = [0, 1, 2, 11, 12, 21, 22, 30];
    // Below those that the system gives to connections.
    for first in (20_000..32_000).step_by(40) {
        let mut held = Vec::new();
        for offset in TAKEN {
            held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, first + offset)).await);
        }
        if held.len() == TAKEN.len() {
            return first;
        }
    }
    panic!("no ports are free");
}

async fn get(addr: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let said = ask(addr, &request).await;
    said.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn ask(addr: SocketAddr, request: &str) -> String {
    let mut said = String::new();
    let asked = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut said).await
    };
    patiently("a page", asked).await.unwrap();
    said
}

/// Another address of loopback.
pub(crate) fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}
