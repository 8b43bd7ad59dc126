//! The proxy asks directories that are well, and others. The test with slapd and curl is
//! ignored unless asked for: `cargo test -p auth-ldap --test programs -- --ignored`.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// What runs, and is killed in the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Proxy {
    _process: Running,
    addr: String,
}

impl Proxy {
    fn asks(directory: SocketAddr) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_auth-ldap"))
            .arg(format!("ldap://{directory}"))
            .args(["uid={},ou=people,dc=example,dc=org", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let process = Running(process);
        stdout.read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on ").unwrap();
        let addr = addr.to_owned();
        Self {
            _process: process,
            addr,
        }
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

/// A directory that answers each question with these bytes, and says what it was asked.
fn directory(answer: &'static [u8]) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (said, asked) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, said) = (stream.unwrap(), said.clone());
            thread::spawn(move || {
                let mut question = [0; 512];
                let len = stream.read(&mut question).unwrap();
                let _ = said.send(question[..len].to_vec());
                let _ = stream.write_all(answer);
                // Until it hangs up.
                let _ = stream.read(&mut question);
            });
        }
    });
    (addr, asked)
}

/// The response to the first bind of a connection, with a result code.
macro_rules! says {
    ($code:literal) => {
        &[0x30, 0x0c, 2, 1, 1, 0x61, 7, 0x0a, 1, $code, 4, 0, 4, 0]
    };
}

#[test]
fn a_bind_that_succeeds_lets_in_and_is_remembered() {
    let (addr, asked) = directory(says!(0));
    let proxy = Proxy::asks(addr);
    assert!(proxy.lets_in("joe", b"secret") && proxy.lets_in("joe", b"secret"));
    let question = asked.recv().unwrap();
    let holds = |what: &[u8]| question.windows(what.len()).any(|it| it == what);
    assert!(holds(b"uid=joe,ou=people,dc=example,dc=org") && holds(b"secret"));
    assert!(asked.try_recv().is_err());
}

#[test]
fn names_that_a_directory_would_bend_and_empty_passwords_are_refused_unasked() {
    let (addr, asked) = directory(says!(0));
    for (name, password) in [
        ("joe", &b""[..]),
        ("joe", b"\xff"),
        ("", b"secret"),
        ("JOE", b"secret"),
        (" joe", b"secret"),
        ("joe,ou=admins", b"secret"),
        ("*", b"secret"),
        ("jo\\65", b"secret"),
    ] {
        assert!(!Proxy::asks(addr).lets_in(name, password), "{name:?}");
    }
    assert!(asked.try_recv().is_err());
}

#[test]
fn a_directory_that_says_no_nothing_or_nonsense_lets_nobody_in() {
    let answers = [
        &says!(49)[..],
        says!(51), // busy
        says!(53), // unwilling to perform
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0xff; 64],
    ];
    thread::scope(|scope| {
        for answer in answers {
            scope.spawn(move || {
                let (addr, _asked) = directory(answer);
                assert!(!Proxy::asks(addr).lets_in("joe", b"secret"), "{answer:?}");
            });
        }
    });
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = nowhere.local_addr().unwrap();
    drop(nowhere);
    assert!(!Proxy::asks(addr).lets_in("joe", b"secret"));
}

/// OpenLDAP's server, in a folder of its own.
fn slapd(dir: &Path) -> (Running, SocketAddr) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir.join("db")).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (conf, users) = (here.join("slapd.conf"), here.join("users.ldif"));
    // Debian has them where not every path leads.
    let run = |program: &str| {
        let mut command = Command::new(Path::new("/usr/sbin").join(program));
        command.current_dir(dir).arg("-f").arg(&conf);
        command
    };
    let added = run("slapadd").arg("-l").arg(users).status().unwrap();
    assert!(added.success());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let mut slapd = run("slapd");
    // In the foreground, with nothing to say.
    slapd.args(["-d", "0", "-h", &format!("ldap://{addr}")]);
    let mut slapd = Running(slapd.spawn().unwrap());
    while TcpStream::connect(addr).is_err() {
        assert!(slapd.0.try_wait().unwrap().is_none(), "slapd has ended");
        thread::yield_now();
    }
    (slapd, addr)
}

#[test]
#[ignore = "needs curl and slapd"]
fn curl_fetches_with_the_password_that_slapd_knows() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("auth-ldap");
    let (slapd, directory) = slapd(&dir);
    let proxy = Proxy::asks(directory);

    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", origin.local_addr().unwrap());
    thread::spawn(move || {
        for stream in origin.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            let page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
            stream.write_all(page).unwrap();
        }
    });
    let curl = |user: &str| {
        let ran = Command::new("curl")
            .args(["-sS", "--max-time", "20", "--proxy-user", user])
            .args(["--socks5-hostname", &proxy.addr, &url])
            .output()
            .unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = curl("joe:guess");
    assert!(
        code == Some(97) && said.contains("User was rejected"),
        "{said}"
    );
    let hello = (Some(0), "hello\n".to_owned());
    assert_eq!(curl("joe:secret"), hello);
    assert!(!proxy.lets_in("ann", b"secret"));
    assert!(!proxy.lets_in("joe", b""));

    // It is down: who is remembered is let in still.
    drop(slapd);
    assert_eq!(curl("joe:secret"), hello);
    assert!(!Proxy::asks(directory).lets_in("joe", b"secret"));
    fs::remove_dir_all(dir).unwrap();
}
