//! The programs, each on a free port of 127.0.0.1.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use socks_tests::patiently;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::sleep,
};

/// A program that serves, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    _processes: Vec<Child>,
    _folder: Folder,
}

/// A folder of a test's own, gone when this is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("upstream-programs-{}-{number}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that was free a moment ago; nobody else here asks for this one.
async fn free() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    free.local_addr().unwrap()
}

fn spawn(program: &str, package: &str, args: &[String]) -> Child {
    let log = || match env::var_os("SOCKS_TESTS_LOUD") {
        Some(_) => Stdio::inherit(),
        None => Stdio::null(),
    };
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: apt-get install {package}"))
}

async fn listening(program: &str, addr: SocketAddr) {
    let listens = async {
        while TcpStream::connect(addr).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    patiently(&format!("the start of {program}"), listens).await;
}

impl Server {
    /// Starts `program`, of Debian's `package`, with `{port}` in `args` filled in.
    pub(crate) async fn start(program: &str, package: &str, args: &[&str]) -> Self {
        Self::start_configured(program, package, args, "").await
    }

    /// As [`start`](Self::start), with `config` in the file `{config}`.
    pub(crate) async fn start_configured(
        program: &str,
        package: &str,
        args: &[&str],
        config: &str,
    ) -> Self {
        Self::start_with(program, package, args, config, &[]).await
    }

    /// As [`start_configured`](Self::start_configured), with more `files` beside it
    /// in `{folder}`.
    pub(crate) async fn start_with(
        program: &str,
        package: &str,
        args: &[&str],
        config: &str,
        files: &[(&str, &str)],
    ) -> Self {
        let (folder, addr) = (Folder::new(), free().await);
        let port = addr.port().to_string();
        let path = folder.0.join("config").display().to_string();
        let fill = |text: &str| {
            let text = text.replace("{port}", &port).replace("{config}", &path);
            text.replace("{folder}", &folder.0.display().to_string())
        };
        folder.write("config", &fill(config));
        for (name, text) in files {
            folder.write(name, text);
        }
        let args: Vec<_> = args.iter().map(|arg| fill(arg)).collect();
        let process = spawn(program, package, &args);
        listening(program, addr).await;
        Self {
            addr,
            _processes: vec![process],
            _folder: folder,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// OpenSSH's `ssh -D`, connected to a server of its own.
pub(crate) async fn ssh() -> Server {
    let (folder, server, proxy) = (Folder::new(), free().await, free().await);
    let at = |name: &str| folder.0.join(name).display().to_string();
    for key in ["host", "user"] {
        let args = ["-q", "-t", "ed25519", "-N", "", "-f", &at(key)];
        let made = Command::new("ssh-keygen").args(args).status().await;
        assert!(made.expect("apt-get install openssh-client").success());
    }
    // sshd wants its own folder to separate privileges, which its service makes.
    if !Path::new("/run/sshd").exists() {
        let _ = fs::create_dir("/run/sshd");
    }
    let config = format!(
        "ListenAddress {server}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         PidFile none\nPermitRootLogin yes\nUsePAM no\n",
        at("host"),
        at("user.pub")
    );
    let config = folder.write("sshd_config", &config);
    let user = at("user");
    let args = ["-D", "-e", "-f", &config].map(str::to_owned);
    let sshd = spawn("/usr/sbin/sshd", "openssh-server", &args);
    listening("sshd", server).await;
    let (port, dynamic) = (server.port().to_string(), proxy.to_string());
    let options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "BatchMode=yes",
    ];
    let options = options.iter().flat_map(|option| ["-o", option]);
    let args = [
        "-N",
        "-F",
        "none",
        "-i",
        &user,
        "-p",
        &port,
        "-D",
        &dynamic,
        "127.0.0.1",
    ];
    let args: Vec<_> = options.chain(args).map(str::to_owned).collect();
    let client = spawn("ssh", "openssh-client", &args);
    listening("ssh", proxy).await;
    Server {
        addr: proxy,
        _processes: vec![client, sshd],
        _folder: folder,
    }
}

/// Tor, which reaches nobody.
pub(crate) async fn tor() -> Server {
    let config = "SocksPort 127.0.0.1:{port}\nDataDirectory {config}.data\n\
        Log err stdout\nSocksTimeout 3\n";
    Server::start_configured("tor", "tor", &["-f", "{config}"], config).await
}

/// Dante, which reaches loopback but for 127.0.0.7.
pub(crate) async fn dante() -> Server {
    let config = "internal: 127.0.0.1 port = {port}\nexternal: lo\n\
        clientmethod: none\nsocksmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n\
        client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\n\
        socks block { from: 0.0.0.0/0 to: 127.0.0.7/32 }\n\
        socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\n";
    Server::start_configured("danted", "dante-server", &["-f", "{config}"], config).await
}
