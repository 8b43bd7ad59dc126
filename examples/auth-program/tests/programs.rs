//! The proxy asks programs that are well, and others. Those tests that need more than a
//! shell are ignored unless asked for:
//! `cargo test -p auth-program --test programs -- --ignored`.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A proxy that runs, and is killed in the end.
struct Proxy {
    process: Child,
    addr: String,
}

impl Proxy {
    fn asks(program: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_auth-program"))
            .arg("127.0.0.1:0")
            .args(program)
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

    /// Asks a shell that reads one question after the other.
    fn asks_shell(answers: &str) -> Self {
        let script = format!("while IFS= read -r line; do {answers}; done");
        Self::asks(&["sh", "-c", &script])
    }

    /// Whether it lets this client in.
    fn lets_in(&self, name: &[u8], password: &[u8]) -> bool {
        let mut message = b"\x05\x01\x02\x01".to_vec();
        for field in [name, password] {
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

const JOE: &str = r#"case $line in "joe s%20%0Ae%25%C3%A9") echo OK;; *) echo ERR no;; esac"#;

#[test]
fn a_program_says_who_is_let_in_and_nothing_can_be_smuggled_to_it() {
    let proxy = Proxy::asks_shell(JOE);
    assert!(proxy.lets_in(b"joe", "s \ne%é".as_bytes()));
    for (name, password) in [
        (&b"joe"[..], &b"s"[..]),
        (b"joe s%20%0Ae%25%C3%A9\n", b"x"),
        (b"joe\0", "s \ne%é".as_bytes()),
        (b"", b"x"),
    ] {
        assert!(!proxy.lets_in(name, password), "{name:?}");
    }
    assert!(!proxy.lets_in(b"joe", b""), "and he is locked out by now");
}

#[test]
fn a_program_that_ends_is_started_again() {
    // Each process answers once, and then is gone.
    let once = Proxy::asks(&["sh", "-c", "read -r line; echo OK"]);
    for name in [b"a", b"b", b"c"] {
        assert!(once.lets_in(name, b"x"));
    }
}

#[test]
fn programs_in_trouble_let_nobody_in() {
    for answers in [
        "echo BH",
        "echo",
        "exit 1",
        "printf OK; exit",
        "echo OKAY",
        "echo ok",
        // One would be taken for the answer to the next question.
        r"printf 'OK\nOK\n'",
    ] {
        assert!(
            !Proxy::asks_shell(answers).lets_in(b"joe", b"x"),
            "{answers}"
        );
    }
    assert!(!Proxy::asks(&["/nowhere/at/all"]).lets_in(b"joe", b"x"));
    assert!(!Proxy::asks(&[]).lets_in(b"joe", b"x"));
    let endless = Proxy::asks(&["sh", "-c", "while :; do printf OKOKOKOK; done"]);
    assert!(!endless.lets_in(b"joe", b"x"));
}

#[test]
fn a_program_that_never_answers_is_given_up_and_holds_up_nobody_else() {
    let proxy = Proxy::asks_shell("case $line in slow*) sleep 60;; *) echo OK;; esac");
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(!proxy.lets_in(b"slow", b"x")));
        }
        assert!(proxy.lets_in(b"joe", b"x"));
        assert!(begun.elapsed() < Duration::from_secs(5));
    });
}

/// Of `secret`.
const SHA_512: &str =
    "$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1";

/// Squid's program for PAM, in namespaces where pam_unix reads a `shadow` of ours: joe's
/// password is `secret`.
const PAM: &str = "cd \"$0\" && mount --bind passwd /etc/passwd && mount --bind shadow \
     /etc/shadow && mount --bind pam.d /etc/pam.d && exec /usr/lib/squid/basic_pam_auth -n ours";

#[test]
#[ignore = "needs curl, squid's basic_pam_auth, and namespaces"]
fn curl_fetches_with_the_password_that_pam_unix_knows() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("auth-program-pam");
    fs::create_dir_all(dir.join("pam.d")).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    write(
        "passwd",
        "root:x:0:0::/:/bin/sh\njoe:x:1000:1000::/:/bin/sh\n",
    );
    write("shadow", &format!("joe:{SHA_512}:19000:0:99999:7:::\n"));
    write(
        "pam.d/ours",
        "auth required pam_unix.so\naccount required pam_unix.so\n",
    );
    let pam = ["unshare", "-rm", "sh", "-c", PAM, dir.to_str().unwrap()];
    let proxy = Proxy::asks(&pam);
    assert!(proxy.lets_in(b"joe", b"secret"));

    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", origin.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = origin.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        let page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
        stream.write_all(page).unwrap();
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
    assert_eq!(curl("joe:secret"), (Some(0), "hello\n".to_owned()));
    assert!(!proxy.lets_in(b"ann", b"secret"));
}
