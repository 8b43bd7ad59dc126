//! The program as its user sees it.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

/// A file that no other test uses, and is gone in the end.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custom-auth"));
        command.arg(action).arg(&self.0);
        command
    }

    fn add(&self, name: &str, password: &str) -> ExitStatus {
        let mut add = self.command("add");
        let mut add = add.arg(name).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = add.stdin.take().unwrap();
        writeln!(stdin, "{password}").unwrap();
        drop(stdin);
        add.wait().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A proxy that runs, and is killed in the end.
struct Proxy {
    process: Child,
    addr: String,
}

impl Proxy {
    fn start(file: &File) -> Self {
        let mut serve = file.command("serve");
        let serve = serve.arg("127.0.0.1:0").stdout(Stdio::piped());
        let mut process = serve.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on ").unwrap();
        let addr = addr.to_owned();
        Self { process, addr }
    }

    /// What it says to a name and a password, by RFC 1929.
    fn status(&self, name: &str, password: &str) -> [u8; 2] {
        let mut message = b"\x05\x01\x02\x01".to_vec();
        for field in [name, password] {
            message.push(field.len().try_into().unwrap());
            message.extend(field.as_bytes());
        }
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        stream.write_all(&message).unwrap();
        let mut answers = [0; 4];
        stream.read_exact(&mut answers).unwrap();
        assert!(answers.starts_with(b"\x05\x02"), "{answers:?}");
        [answers[2], answers[3]]
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const LET_IN: [u8; 2] = *b"\x01\x00";
const REFUSED: [u8; 2] = *b"\x01\x01";

#[test]
fn the_users_of_the_file_are_let_in_and_others_refused() {
    let file = File::new("serves.db");
    assert!(file.add("joe", "with: spaces ").success());
    let proxy = Proxy::start(&file);
    assert_eq!(proxy.status("joe", "with: spaces "), LET_IN);
    assert_eq!(proxy.status("joe", "wrong"), REFUSED);
    assert_eq!(proxy.status("jim", "with: spaces "), REFUSED);
    assert_eq!(proxy.status("", ""), REFUSED);

    // Seen at once, for nothing is remembered of those who were refused.
    assert!(file.add("jim", "late").success());
    assert_eq!(proxy.status("jim", "late"), LET_IN);
    assert!(
        file.command("remove")
            .arg("joe")
            .status()
            .unwrap()
            .success()
    );
    let gone = file.command("remove").arg("joe").status().unwrap();
    assert!(!gone.success());

    let bytes = fs::read(&file.0).unwrap();
    let is_in_clear = |password: &[u8]| bytes.windows(password.len()).any(|it| it == password);
    assert!(!is_in_clear(b"with: spaces") && !is_in_clear(b"late"));
}

#[test]
fn nobody_has_a_name_or_a_password_that_no_client_can_say() {
    let file = File::new("refuses.db");
    for (name, password) in [
        ("", "secret"),
        ("joe", ""),
        ("joe", "\u{feff}"),
        (&*"n".repeat(256), "secret"),
        ("joe", &*"p".repeat(256)),
    ] {
        assert!(!file.add(name, password).success());
    }
    assert!(file.add(&"n".repeat(255), &"p".repeat(255)).success());
}

#[test]
fn a_file_that_is_not_there_is_neither_served_nor_made() {
    let file = File::new("missing.db");
    for (action, what) in [("serve", "127.0.0.1:0"), ("remove", "joe")] {
        let ran = file.command(action).arg(what).output().unwrap();
        assert_eq!(ran.status.code(), Some(1));
        let error = String::from_utf8_lossy(&ran.stderr);
        assert!(error.contains("missing.db"), "{error}");
        assert!(!file.0.exists());
    }
}
