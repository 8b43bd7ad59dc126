//! A user's policy reaches the limit, the rules, the routes and the address to come from.
//! The test with curl is ignored unless asked for:
//! `cargo test -p policy --test programs -- --ignored`.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

/// A proxy that runs, and is killed in the end.
struct Proxy {
    process: Child,
    addr: String,
}

impl Proxy {
    fn start(upstream: SocketAddr) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_policy"))
            .args([&format!("socks5h://{upstream}"), "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on ").unwrap();
        let addr = addr.to_owned();
        Self { process, addr }
    }

    /// A connection for `name`, and what the proxy says of it.
    fn connect(&self, name: &str, target: SocketAddr) -> (TcpStream, u8) {
        let mut client = TcpStream::connect(&self.addr).unwrap();
        let login = [&[5, 1, 2, 1, 3], name.as_bytes(), b"\x06secret"].concat();
        let SocketAddr::V4(target) = target else {
            panic!("{target}")
        };
        let (ip, port) = (target.ip().octets(), target.port().to_be_bytes());
        let request = [&login[..], &[5, 1, 0, 1], &ip, &port].concat();
        client.write_all(&request).unwrap();
        let mut reply = [0; 14];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..5], [5, 2, 1, 0, 5]);
        (client, reply[5])
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A proxy that says `through` to whoever comes.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                stream.read_exact(&mut [0; 3]).unwrap();
                stream.write_all(b"\x05\x00").unwrap();
                stream.read_exact(&mut [0; 10]).unwrap();
                stream.write_all(b"\x05\x00\x00\x01\0\0\0\0\0\0").unwrap();
                stream.write_all(b"through").unwrap();
                let _ = stream.read(&mut [0]);
            });
        }
    });
    addr
}

const GRANTED: u8 = 0;
const GENERAL_FAILURE: u8 = 1;
const NOT_ALLOWED: u8 = 2;

#[test]
fn a_user_s_policy_reaches_limit_rules_routes_and_the_address_to_come_from() {
    let proxy = Proxy::start(upstream());
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = target.local_addr().unwrap();
    let mail = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));

    // Ann comes from an address of her own, as often as she likes, directly.
    let anns: Vec<_> = (0..3).map(|_| proxy.connect("ann", addr)).collect();
    for (_, reply) in &anns {
        assert_eq!(*reply, GRANTED);
        assert_eq!(
            target.accept().unwrap().1.ip(),
            Ipv4Addr::new(127, 0, 0, 25)
        );
    }
    assert_ne!(proxy.connect("ann", mail).1, NOT_ALLOWED);

    // Joe goes through the other proxy, once at a time, and sends no mail.
    let (mut joe, reply) = proxy.connect("joe", addr);
    assert_eq!(reply, GRANTED);
    let mut said = [0; 7];
    joe.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"through");
    assert_eq!(proxy.connect("joe", addr).1, GENERAL_FAILURE);
    assert_eq!(proxy.connect("ann", addr).1, GRANTED);
    drop(joe);
    // His place is free once the proxy has seen him go.
    while proxy.connect("joe", mail).1 != NOT_ALLOWED {
        thread::yield_now();
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_needs_a_password_from_elsewhere_and_none_from_here() {
    let proxy = Proxy::start(upstream());
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", origin.local_addr().unwrap());
    thread::spawn(move || {
        for stream in origin.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            let from = stream.peer_addr().unwrap().ip().to_string();
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            write!(stream, "{head}{from}").unwrap();
        }
    });
    let curl = |more: &[&str]| {
        let ran = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "20",
                "--socks5-hostname",
                &proxy.addr,
                &url,
            ])
            .args(more)
            .output()
            .unwrap();
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
    };
    let ok = |from: &str| (Some(0), from.to_owned());
    assert_eq!(curl(&[]), ok("127.0.0.1"));
    let elsewhere = ["--interface", "127.0.0.2"];
    assert_eq!(curl(&elsewhere).0, Some(97));
    let ann = ["--interface", "127.0.0.2", "--proxy-user", "ann:secret"];
    assert_eq!(curl(&ann), ok("127.0.0.25"));
    let guess = ["--interface", "127.0.0.2", "--proxy-user", "ann:guess"];
    assert_eq!(curl(&guess).0, Some(97));
}
