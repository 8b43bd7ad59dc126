use std::{fs, io::ErrorKind};

use socks_tower::{Group, Rules, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A ClientHello that says the server's name behind 1 KiB of something else, as browsers do.
fn client_hello(name: &str) -> Vec<u8> {
    let part = |head: &[u8], body: &[u8]| [head, &(body.len() as u16).to_be_bytes(), body].concat();
    let names = part(&[], &part(&[0], name.as_bytes()));
    let padded = [part(&[0, 21], &[0; 1024]), part(&[0, 0], &names)].concat();
    let extensions = part(&[], &padded);
    let fixed = [&[3, 3][..], &[0; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    part(&[22, 3, 1], &part(&[1, 0], &[fixed, extensions].concat()))
}

/// Both ends of a new tunnel.
async fn tunnel(proxy: std::net::SocketAddr) -> (TcpStream, TcpStream) {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = target.local_addr().unwrap().port().to_be_bytes();
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let asks = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat();
    client.write_all(&asks).await.unwrap();
    let mut heard = [0; 12];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard[..4], [5, 0, 5, 0]);
    (client, target.accept().await.unwrap().0)
}

#[tokio::test]
async fn logs_names_and_ends_blocked_ones() {
    let log = concat!(env!("CARGO_TARGET_TMPDIR"), "/tap.log");
    let fmt = tracing_subscriber::fmt().with_writer(fs::File::create(log).unwrap());
    let fmt = fmt.with_ansi(false);
    let _guard = tracing::subscriber::set_default(fmt.finish());
    let rules = Rules::new().permit_special("127.0.0.0/8".parse().unwrap());
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let proxy = server.local_addr();
    let blocked = Group::parse("blocked", ".blocked.example").unwrap();
    tokio::spawn(server.serve(tap::proxy(blocked, rules)));

    // Both sides of a blocked one are reset, and the target has had nothing.
    let http = b"GET / HTTP/1.1\r\nHost: blocked.example:80\r\n\r\n".to_vec();
    for says in [client_hello("www.blocked.example"), http] {
        let (mut client, mut target) = tunnel(proxy).await;
        client.write_all(&says).await.unwrap();
        let mut heard = Vec::new();
        let reset = target.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!((reset.kind(), heard.len()), (ErrorKind::ConnectionReset, 0));
        assert!(client.read_to_end(&mut heard).await.is_err());
    }

    // Nor has it one that comes in pieces, while it may itself go on speaking.
    let (mut client, mut target) = tunnel(proxy).await;
    client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    target.write_all(b"!").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'!');
    client
        .write_all(b"st: blocked.example\r\n\r\n")
        .await
        .unwrap();
    let mut heard = Vec::new();
    let reset = target.read_to_end(&mut heard).await.unwrap_err();
    assert_eq!((reset.kind(), heard.len()), (ErrorKind::ConnectionReset, 0));

    // Others pass, with bulk behind what was looked at.
    let (mut client, mut target) = tunnel(proxy).await;
    let says = [client_hello("fine.example"), vec![7; 32 << 20]].concat();
    let all = says.clone();
    let sender = tokio::spawn(async move {
        client.write_all(&all).await.unwrap();
        client.shutdown().await.unwrap();
    });
    let mut heard = Vec::new();
    target.read_to_end(&mut heard).await.unwrap();
    assert!(heard == says);
    sender.await.unwrap();

    let log = fs::read_to_string(log).unwrap();
    for name in [
        "host=www.blocked.example",
        "host=blocked.example",
        "host=fine.example",
    ] {
        assert!(log.contains(name), "{name} is not in {log}");
    }
}
