//! What stands behind a name chooses the way, and isolates. The test with curl is ignored
//! unless asked for: `cargo test -p user-names --test programs -- --ignored`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// A proxy that runs, and is killed in the end.
struct Proxy {
    process: Child,
    addr: String,
}

impl Proxy {
    fn start(anywhere: SocketAddr, germany: SocketAddr) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_user-names"))
            .arg(anywhere.to_string())
            .arg(format!("de={germany}"))
            .arg("listen=127.0.0.1:0")
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

    /// The reply to a request for `a.example:80`; none if the user is not let in.
    fn reply(&self, username: &str) -> Option<u8> {
        let mut client = TcpStream::connect(&self.addr).unwrap();
        let len = [username.len().try_into().unwrap()];
        let login = [
            b"\x05\x01\x02\x01",
            &len[..],
            username.as_bytes(),
            b"\x06secret",
        ]
        .concat();
        client.write_all(&login).unwrap();
        let mut answers = [0; 4];
        client.read_exact(&mut answers).unwrap();
        if answers == *b"\x05\x02\x01\x01" {
            return None;
        }
        client
            .write_all(b"\x05\x01\x00\x03\x09a.example\x00\x50")
            .unwrap();
        let mut reply = [0; 10];
        client.read_exact(&mut reply).unwrap();
        Some(reply[1])
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// What stands behind its length.
fn field(stream: &mut TcpStream) -> Vec<u8> {
    let len = read(stream, 1)[0];
    read(stream, len.into())
}

/// A proxy such as Tor's: takes every name and password, and says by which somebody came.
fn upstream() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (said, heard) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _version = read(&mut stream, 1);
            assert!(field(&mut stream).contains(&2));
            stream.write_all(b"\x05\x02").unwrap();
            let _version = read(&mut stream, 1);
            let words = [field(&mut stream), field(&mut stream)];
            let words = words.map(|word| String::from_utf8(word).unwrap());
            stream.write_all(b"\x01\x00").unwrap();
            let _request = read(&mut stream, 4 + 1 + 9 + 2);
            stream.write_all(b"\x05\x00\x00\x01\0\0\0\0\0\0").unwrap();
            said.send(words.join("/")).unwrap();
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                let page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
                let _ = stream.write_all(page);
            });
        }
    });
    (addr, heard)
}

#[test]
fn sessions_are_isolated_and_a_country_is_a_way_of_its_own() {
    let ((anywhere, came), (germany, came_to_germany)) = (upstream(), upstream());
    let proxy = Proxy::start(anywhere, germany);
    for (username, isolation) in [
        ("joe", "joe/none"),
        ("joe-session-a", "joe/a"),
        ("joe-session-b", "joe/b"),
        ("joe-session-a", "joe/a"),
        ("ann-session-a", "ann/a"),
    ] {
        assert_eq!(proxy.reply(username), Some(0), "{username}");
        assert_eq!(came.recv().unwrap(), isolation);
    }
    assert_eq!(proxy.reply("joe-country-de"), Some(0));
    assert_eq!(came_to_germany.recv().unwrap(), "joe/none");
    assert_eq!(proxy.reply("joe-session-a-country-de"), Some(0));
    assert_eq!(came_to_germany.recv().unwrap(), "joe/a");

    assert_eq!(
        proxy.reply("joe-country-fr"),
        Some(2),
        "and not from elsewhere"
    );
    for username in ["jim", "jim-session-a", "joe-city-berlin", "joe-session"] {
        assert_eq!(proxy.reply(username), None, "{username}");
    }
    assert!(came.try_recv().is_err() && came_to_germany.try_recv().is_err());
}

#[test]
#[ignore = "needs curl"]
fn curl_fetches_through_the_country_of_its_wishes() {
    let ((anywhere, came), (germany, came_to_germany)) = (upstream(), upstream());
    let proxy = Proxy::start(anywhere, germany);
    let curl = |user: &str| {
        let ran = Command::new("curl")
            .args(["-sS", "--max-time", "20", "--proxy-user", user])
            .args(["--socks5-hostname", &proxy.addr, "http://a.example/"])
            .output()
            .unwrap();
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
    };
    let hello = (Some(0), "hello\n".to_owned());
    assert_eq!(curl("joe-country-de-session-abc:secret"), hello);
    assert_eq!(came_to_germany.recv().unwrap(), "joe/abc");
    assert_eq!(curl("joe:secret"), hello);
    assert_eq!(came.recv().unwrap(), "joe/none");
    assert_eq!(curl("joe-country-fr:secret").0, Some(97));
}
