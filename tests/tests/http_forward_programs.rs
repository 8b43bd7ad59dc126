//! curl, wget, apt and Python's requests, which ask their proxy for `http://` URLs,
//! through `socks-proxy`.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use socks_tests::{
    child::Child,
    content::Content,
    origin::{ClosedPort, Origin, V4, V6},
    patiently,
    program::{self, Ran},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
};

const FILE: Content = Content::mib(4);
const LOGIN: &str = "joe:s3cret@!";

async fn curl(child: &Child, args: &[&str]) -> Ran {
    let proxy = format!("http://{}", child.addr());
    let through = ["-q", "--silent", "--show-error", "--proxy", &proxy];
    program::run("curl", "curl", &[&through, args].concat()).await
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_fetches_without_a_tunnel() {
    let (v4, v6) = (Origin::http(V4, FILE).await, Origin::http(V6, FILE).await);
    let by_name = format!("localhost:{}", v4.port());
    let proxy = Child::start(&["--allow-private"]).await;
    for target in [v4.addr().to_string(), v6.addr().to_string(), by_name] {
        let url = format!("http://{target}/");
        FILE.assert_is(&curl(&proxy, &[&url]).await.expect_success());
        // Several on one connection, of which the others are used again.
        let twice = curl(&proxy, &["--write-out", "%{num_connects}", &url, &url]).await;
        let twice = twice.expect_success();
        assert_eq!(twice.len(), 2 * FILE.len() + 2);
        assert!(twice.ends_with(b"0"), "a second connection to the proxy");
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_shows_its_password_with_each_request() {
    let origin = Origin::http(V4, Content::new(1)).await;
    let url = format!("http://{}/", origin.addr());
    let proxy = Child::start(&["--allow-private", "--user", LOGIN]).await;
    let code = [
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} ",
        &url,
    ];
    for (args, heard) in [
        (&["--proxy-user", LOGIN][..], "200 "),
        // It asks first without, and then again on the same connection.
        (&["--proxy-anyauth", "--proxy-user", LOGIN], "200 "),
        (&["--proxy-user", "joe:wrong"], "407 "),
        (&[], "407 "),
    ] {
        let ran = curl(&proxy, &[args, &code].concat()).await.expect_success();
        assert_eq!(String::from_utf8_lossy(&ran), heard, "{args:?}");
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_is_told_what_failed() {
    let closed = ClosedPort::new();
    let refused = format!("http://{}/", closed.addr());
    let code = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let open = Child::start(&["--allow-private"]).await;
    let strict = Child::start(&[]).await;
    for (proxy, url, heard) in [
        (&open, refused.as_str(), "502"),
        (&open, "http://nowhere.invalid/", "502"),
        (&strict, "http://127.0.0.1:9/", "403"),
    ] {
        let ran = curl(proxy, &[&code[..], &[url]].concat())
            .await
            .expect_success();
        assert_eq!(String::from_utf8_lossy(&ran), heard, "{url}");
    }
}

#[tokio::test]
#[ignore = "needs wget"]
async fn wget_fetches_through_http_proxy() {
    let origin = Origin::http(V4, FILE).await;
    let url = format!("http://{}/", origin.addr());
    let proxy = Child::start(&["--allow-private", "--user", LOGIN]).await;
    let (name, password) = LOGIN.split_once(':').unwrap();
    let through = format!("http_proxy=http://{}", proxy.addr());
    let (name, password) = (
        format!("--proxy-user={name}"),
        format!("--proxy-password={password}"),
    );
    let args = [
        "--no-config",
        "--quiet",
        "--tries=1",
        "--output-document=-",
        "-e",
        &through,
    ];
    let twice = [&args[..], &[&name, &password, &url, &url]].concat();
    let both = program::run("wget", "wget", &twice).await.expect_success();
    let (one, two) = both.split_at(FILE.len());
    FILE.assert_is(one);
    FILE.assert_is(two);
    // wget's exit code for a server's error.
    let ran = program::run("wget", "wget", &[&args[..], &[&url]].concat()).await;
    assert_eq!(ran.code, Some(8), "{ran}");
}

/// Answers a request once its chunks have ended.
async fn thank(mut stream: TcpStream) {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n0\r\n\r\n") {
        if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks";
    let _ = stream.write_all(answer).await;
}

/// Fetches a URL twice, and posts in chunks to another, on one connection.
const REQUESTS: &str = r#"
import sys
import requests
proxy, url, other = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.proxies = {"http": proxy}
bodies = [session.get(url).content for _ in range(2)]
assert bodies[0] == bodies[1]
assert session.post(other, data=(b"x" * 1000 for _ in range(100))).text == "thanks"
sys.stdout.buffer.write(bodies[0])
"#;

#[tokio::test]
#[ignore = "needs Python's requests"]
async fn requests_fetches_through_a_proxy() {
    let origin = Origin::http(V4, FILE).await;
    let proxy = Child::start(&["--allow-private", "--user", "joe:secret"]).await;
    // One that has requests: .ci/run makes an environment for it.
    let python = env::var("SOCKS_TESTS_PYTHON").unwrap_or_else(|_| "python3".into());
    let through = format!("http://joe:secret@{}", proxy.addr());
    let url = format!("http://{}/", origin.addr());
    let posts = Origin::serve(V4, thank).await;
    let to = format!("http://{}/", posts.addr());
    let ran = program::run(&python, "python3", &["-c", REQUESTS, &through, &url, &to]).await;
    assert!(
        !ran.stderr.contains("ModuleNotFoundError"),
        "requests is not installed: apt-get install python3-requests, or pip install requests"
    );
    FILE.assert_is(&ran.expect_success());
}

/// A folder that is gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("socks-tests-apt-{}", std::process::id());
        let folder = Self(env::temp_dir().join(name));
        fs::create_dir(&folder.0).unwrap();
        folder
    }

    fn make(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A repository with one package, and its index.
async fn repository(folder: &Folder) -> PathBuf {
    let control = "Package: socks-tests\nVersion: 1\nArchitecture: all\n\
                   Maintainer: nobody <nobody@example.com>\nDescription: nothing\n";
    folder.make("package/DEBIAN/control", control);
    let deb = folder.make("repository/socks-tests.deb", "");
    let (package, path) = (folder.0.join("package"), deb.to_str().unwrap());
    let build = [
        "--root-owner-group",
        "--build",
        package.to_str().unwrap(),
        path,
    ];
    let _ = program::run("dpkg-deb", "dpkg", &build)
        .await
        .expect_success();
    let sum = program::run("sha256sum", "coreutils", &[path])
        .await
        .expect_success();
    let sum = String::from_utf8(sum).unwrap();
    let (sum, _) = sum.split_once(' ').unwrap();
    let size = fs::metadata(&deb).unwrap().len();
    let index = format!("{control}Filename: ./socks-tests.deb\nSize: {size}\nSHA256: {sum}\n");
    folder.make("repository/Packages", &index);
    folder.0.join("repository")
}

/// Serves a folder's files; gives the process, which ends when it is dropped, and the
/// port.
async fn serve(folder: &Path) -> (tokio::process::Child, String) {
    let mut server = Command::new("python3");
    server.args([
        "-u",
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "--directory",
    ]);
    server.arg(folder).arg("0").kill_on_drop(true);
    server
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = server.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    patiently("a server of files", out.read_line(&mut line))
        .await
        .unwrap();
    let (_, port) = line.split_once(" port ").unwrap();
    (server, port.split(' ').next().unwrap().to_owned())
}

#[tokio::test]
#[ignore = "needs apt"]
async fn apt_updates_and_downloads_through_a_proxy() {
    let folder = Folder::new();
    let (_server, port) = serve(&repository(&folder).await).await;
    let proxy = Child::start(&["--allow-private", "--user", "joe:secret"]).await;
    let list = format!("deb [trusted=yes] http://127.0.0.1:{port} ./\n");
    folder.make("root/etc/apt/sources.list", &list);
    folder.make("root/var/lib/dpkg/status", "");
    folder.make("root/var/lib/apt/lists/partial/none", "");
    folder.make("root/var/cache/apt/archives/partial/none", "");
    let root = folder.0.join("root");
    let config = format!(
        "Dir \"{}\";\nDir::State::status \"{}\";\n\
         Acquire::http::Proxy \"http://joe:secret@{}\";\nAcquire::Retries \"0\";\n\
         Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n",
        root.display(),
        root.join("var/lib/dpkg/status").display(),
        proxy.addr(),
    );
    let config = folder.make("apt.conf", &config);
    let apt = async |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("APT_CONFIG", &config)
            .current_dir(&folder.0)
            .args(args);
        program::run_command(apt, "apt").await
    };
    let _ = apt(&["update", "--error-on=any"]).await.expect_success();
    let _ = apt(&["download", "socks-tests"]).await.expect_success();
    let had = fs::read(folder.0.join("socks-tests_1_all.deb")).unwrap();
    assert_eq!(
        had,
        fs::read(folder.0.join("repository/socks-tests.deb")).unwrap()
    );
}
