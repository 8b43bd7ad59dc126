//! curl goes through the client, and by that through the proxy, as joe.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
};

/// One of the two programs, and where it listens. It ends when this is dropped.
struct Listening(Child, String);

impl Listening {
    fn start(program: &str, args: &[&str], tickets: &str) -> Self {
        let realm = env::var("SOCKS_TESTS_REALM").expect("to be run by tests/gssapi/realm");
        let mut child = Command::new(program)
            .args(args)
            .arg("127.0.0.1:0")
            .env("KRB5CCNAME", format!("FILE:{realm}/{tickets}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.as_mut().unwrap());
        said.read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("listening on ").unwrap();
        Self(child, addr.to_owned())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What curl fetches from a server of ours, by the client with those tickets.
fn fetch(proxy: &Listening, tickets: &str) -> Result<String, Option<i32>> {
    let args = [&proxy.1, "socks@proxy.test"];
    let client = Listening::start(env!("CARGO_BIN_EXE_client"), &args, tickets);
    let page = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", page.local_addr().unwrap());
    thread::spawn(move || {
        for stream in page.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            stream.write_all(answer).unwrap();
        }
    });
    let by = format!("socks5h://{}", client.1);
    let curl = Command::new("curl")
        .args(["-sS", "--proxy", &by, &url])
        .output();
    let curl = curl.expect("apt-get install curl");
    match curl.status.code() {
        Some(0) => Ok(String::from_utf8(curl.stdout).unwrap()),
        code => Err(code),
    }
}

#[test]
fn gssapi_lets_joe_fetch_and_jane_not() {
    let proxy = Listening::start(env!("CARGO_BIN_EXE_proxy"), &["SOCKS.TEST"], "none");
    assert_eq!(fetch(&proxy, "joe.ccache").as_deref(), Ok("hello"));
    // curl's code for what a proxy refuses.
    assert_eq!(fetch(&proxy, "jane.ccache"), Err(Some(97)));
    assert_eq!(fetch(&proxy, "none"), Err(Some(97)));
}

#[test]
fn gssapi_lets_nobody_in_from_another_realm() {
    let proxy = Listening::start(env!("CARGO_BIN_EXE_proxy"), &["OTHER.TEST"], "none");
    assert_eq!(fetch(&proxy, "joe.ccache"), Err(Some(97)));
}
