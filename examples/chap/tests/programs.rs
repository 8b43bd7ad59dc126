//! PuTTY speaks CHAP, too. It must be installed, so this test is ignored unless asked
//! for: `cargo test -p chap --test programs -- --ignored`.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

/// A proxy that runs, and is killed in the end.
struct Proxy {
    process: Child,
    port: String,
}

impl Proxy {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_chap"))
            .args(["serve", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on ").unwrap();
        let (_, port) = addr.rsplit_once(':').unwrap();
        let port = port.to_owned();
        Self { process, port }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What PuTTY's `plink` does, whose proxy stands in a file of its own.
fn plink(home: &Path, proxy: &Proxy, name: &str, secret: &str, target: u16) -> Output {
    let sessions = home.join(".putty/sessions");
    fs::create_dir_all(&sessions).unwrap();
    // SOCKS 5, for the local host too.
    let session = format!(
        "ProxyMethod=2\nProxyHost=127.0.0.1\nProxyPort={}\nProxyLocalhost=1\n\
         ProxyUsername={name}\nProxyPassword={secret}\n",
        proxy.port
    );
    fs::write(sessions.join("chap"), session).unwrap();
    let mut plink = Command::new("plink")
        .env("HOME", home)
        .args(["-batch", "-load", "chap", "-raw", "-P", &target.to_string()])
        .arg("127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    plink.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    plink.wait_with_output().unwrap()
}

#[test]
#[ignore = "needs plink, of Debian's putty-tools"]
fn putty_is_let_in_by_its_secret_and_refused_with_another() {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chap-putty");
    let proxy = Proxy::start();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = target.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = target.accept().unwrap();
        let mut heard = [0; 6];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(b"heard: ").unwrap();
        stream.write_all(&heard).unwrap();
    });

    let refused = plink(&home, &proxy, "joe", "guess", port);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("CHAP authentication failed"),
        "{said}"
    );

    let let_in = plink(&home, &proxy, "joe", "secret", port);
    let said = String::from_utf8_lossy(&let_in.stderr);
    assert_eq!(let_in.stdout, b"heard: hello\n", "{said}");
    fs::remove_dir_all(home).unwrap();
}
