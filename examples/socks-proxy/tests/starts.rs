//! The program starts, says where, and can be reached there.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Command, Stdio},
};

#[test]
fn it_says_where_it_listens() {
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_socks-proxy"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(proxy.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let reached = line
        .trim_end()
        .strip_prefix("listening on ")
        .map(TcpStream::connect);
    proxy.kill().unwrap();
    proxy.wait().unwrap();

    assert!(matches!(reached, Some(Ok(_))), "{line:?}: {reached:?}");
}
