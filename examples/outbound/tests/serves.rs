//! Users come from addresses of their own.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address that `target` sees of a user with a name of three letters.
fn seen(proxy: &str, name: &str, target: &TcpListener) -> IpAddr {
    let mut client = TcpStream::connect(proxy).unwrap();
    let port = target.local_addr().unwrap().port().to_be_bytes();
    let login = [&[5, 1, 2, 1, 3], name.as_bytes(), b"\x06secret"].concat();
    let request = [&login[..], &[5, 1, 0, 1, 127, 0, 0, 1], &port].concat();
    client.write_all(&request).unwrap();
    let mut reply = [0; 14];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..6], [5, 2, 1, 0, 5, 0]);
    target.accept().unwrap().1.ip()
}

#[test]
fn a_user_keeps_an_address_of_its_own() {
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_outbound"))
        .args(["127.0.7.0/24", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(proxy.stdout.take().unwrap());
    let _proxy = Proxy(proxy);
    stdout.read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on ").unwrap();

    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let (joe, ann) = (seen(addr, "joe", &target), seen(addr, "ann", &target));
    assert_ne!(joe, ann);
    for ip in [joe, ann] {
        assert!(ip.to_string().starts_with("127.0.7."), "{ip}");
    }
    assert_eq!(seen(addr, "joe", &target), joe);
    assert_eq!(seen(addr, "sue", &target), IpAddr::from([127, 0, 0, 25]));
}
