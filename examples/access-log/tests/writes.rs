//! The program writes a line for a session, in either form.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// What the log has in it after one session that broke the protocol.
fn logged(name: &str, args: &[&str]) -> String {
    let file = std::env::temp_dir().join(format!("{name}.{}.log", std::process::id()));
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_access-log"))
        .arg(&file)
        .args(args)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(proxy.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on ").unwrap();
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"\x07").unwrap();
    let _ = client.read_to_end(&mut Vec::new());

    let began = Instant::now();
    let mut log = String::new();
    while !log.ends_with('\n') && began.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(10));
        log = fs::read_to_string(&file).unwrap();
    }
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    fs::remove_file(&file).unwrap();
    log
}

#[test]
fn a_session_is_a_line_in_3proxy_s_form() {
    let log = logged("three_proxy", &[]);
    assert!(log.contains(" 00401 - 127.0.0.1:"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn a_session_is_a_line_of_json_if_told_so() {
    let log = logged("json", &["--json"]);
    assert!(log.contains(r#""error.type":"protocol""#), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn a_busy_port_is_named_as_a_person_would() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_access-log"));
    let ran = proxy.args(["/dev/null", &addr]).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let error = String::from_utf8(ran.stderr).unwrap();
    let expected = format!("Error: cannot listen on {addr}: Address already in use");
    assert!(error.starts_with(&expected), "{error}");
}
