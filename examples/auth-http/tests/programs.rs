//! The proxy asks an endpoint that is well, says no, or is down. The test with curl is
//! ignored unless asked for: `cargo test -p auth-http --test programs -- --ignored`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// An endpoint: joe's password is `secret`. What it was asked it keeps.
struct Endpoint {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    /// Answered to all, if it is set.
    trouble: Arc<Mutex<Option<&'static str>>>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Self {
            addr: listener.local_addr().unwrap(),
            asked: Arc::default(),
            trouble: Arc::default(),
        };
        let (asked, trouble) = (endpoint.asked.clone(), endpoint.trouble.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, trouble) = (asked.clone(), trouble.clone());
                thread::spawn(move || answer(stream.unwrap(), &asked, &trouble));
            }
        });
        endpoint
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn has_trouble(&self, status: Option<&'static str>) {
        *self.trouble.lock().unwrap() = status;
    }
}

fn answer(stream: TcpStream, asked: &Mutex<Vec<String>>, trouble: &Mutex<Option<&'static str>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut line, mut len) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                len = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let right = body.contains(r#""password":"secret""#) && body.contains(r#""username":"joe""#);
        let status = match *trouble.lock().unwrap() {
            Some(status) => status,
            None if right => "204 No Content",
            None => "403 Forbidden",
        };
        asked.lock().unwrap().push(body);
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

/// A proxy that runs, and is killed in the end.
struct Proxy {
    process: Child,
    addr: String,
}

impl Proxy {
    fn start(url: &str, when_down: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_auth-http"))
            .args([url, when_down, "127.0.0.1:0"])
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

    fn asks(endpoint: &Endpoint, when_down: &str) -> Self {
        Self::start(&format!("http://{}/login", endpoint.addr), when_down)
    }

    /// Whether it lets this client in.
    fn lets_in(&self, name: &str, password: &[u8]) -> bool {
        let mut message = b"\x05\x01\x02\x01".to_vec();
        for field in [name.as_bytes(), password] {
            message.push(field.len().try_into().unwrap());
            message.extend(field);
        }
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        stream.write_all(&message).unwrap();
        let mut answers = [0; 4];
        stream.read_exact(&mut answers).unwrap();
        assert!(answers.starts_with(b"\x05\x02\x01"), "{answers:?}");
        answers[3] == 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_endpoint_says_who_is_let_in_and_is_asked_once_about_those() {
    let endpoint = Endpoint::start();
    let proxy = Proxy::asks(&endpoint, "refuse");
    for _ in 0..3 {
        assert!(proxy.lets_in("joe", b"secret"));
    }
    assert_eq!(
        endpoint.asked(),
        [r#"{"client":"127.0.0.1","password":"secret","username":"joe"}"#]
    );
    assert!(!proxy.lets_in("joe", b"no\"t"));
    assert!(!proxy.lets_in("ann", b"secret"));
    assert!(!proxy.lets_in("joe", b"\xff"));
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].contains(r#""password":"no\"t""#), "{asked:?}");
}

#[test]
fn who_is_let_in_while_the_endpoint_is_down_is_a_choice() {
    for (when_down, stranger) in [
        ("refuse", false),
        ("remembered", false),
        ("everybody", true),
    ] {
        let endpoint = Endpoint::start();
        let proxy = Proxy::asks(&endpoint, when_down);
        assert!(proxy.lets_in("joe", b"secret"));
        for trouble in ["500 Internal Server Error", "302 Found", "404 Not Found"] {
            endpoint.has_trouble(Some(trouble));
            assert!(proxy.lets_in("joe", b"secret"), "he is remembered");
            assert_eq!(
                proxy.lets_in("ann", b"secret"),
                stranger,
                "{when_down} {trouble}"
            );
        }
        // A no is a no.
        endpoint.has_trouble(None);
        assert!(!proxy.lets_in("ann", b"secret"), "{when_down}");

        let nowhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", nowhere.local_addr().unwrap());
        drop(nowhere);
        let proxy = Proxy::start(&url, when_down);
        assert_eq!(proxy.lets_in("joe", b"secret"), stranger, "{when_down}");
    }
}

#[test]
fn an_endpoint_that_never_answers_is_down() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    assert!(!Proxy::start(&url, "refuse").lets_in("joe", b"secret"));
}

#[test]
#[ignore = "needs curl"]
fn curl_fetches_as_joe_and_as_nobody_else() {
    let endpoint = Endpoint::start();
    let proxy = Proxy::asks(&endpoint, "refuse");
    let origin = Endpoint::start();
    origin.has_trouble(Some("200 OK"));
    let curl = |user: &str| {
        let ran = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "20",
                "--data",
                "hello",
                "--proxy-user",
                user,
            ])
            .args(["--socks5-hostname", &proxy.addr])
            .arg(format!("http://{}/", origin.addr))
            .output()
            .unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    assert_eq!(curl("joe:secret"), (Some(0), String::new()));
    assert_eq!(origin.asked(), ["hello"]);
    let (code, said) = curl("joe:guess");
    assert_eq!(code, Some(97), "{said}");
    assert!(said.contains("User was rejected"), "{said}");
    assert_eq!(endpoint.asked().len(), 2);
}
