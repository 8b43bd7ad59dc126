//! Clients that do not speak SOCKS, and those that speak it wrongly.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::{
    client::{connect, echo, patiently, tunnel},
    process::Process,
};

/// Says `words`; returns all that the proxy says until it closes in order. Its
/// deadline is an hour away.
async fn turned_away(proxy: SocketAddr, words: &[u8]) -> Vec<u8> {
    let mut client = connect(proxy).await;
    client.write_all(words).await.unwrap();
    let mut found = Vec::new();
    patiently("the end", client.read_to_end(&mut found))
        .await
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    found
}

/// Checks that the proxy waits for more, and says nothing.
async fn waits(client: &mut TcpStream) {
    let heard = timeout(Duration::from_millis(200), client.read_u8()).await;
    assert!(heard.is_err(), "it does not wait: {heard:?}");
}

/// The beginning of a ClientHello.
const TLS: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_ssh_and_http_are_turned_away_at_once() {
    let proxy = Process::start("patient", 300).await;
    let hello = [TLS, &[0x5a; 506]].concat();
    assert_eq!(turned_away(proxy.addr, &hello).await, b"");
    assert_eq!(
        turned_away(proxy.addr, b"SSH-2.0-OpenSSH_9.6\r\n").await,
        b""
    );
    for words in [
        &b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"[..],
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 20000\r\n\r\n",
        b"DELETE / HTTP/1.1\r\n\r\n",
        b"HEAD / HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"TRACE / HTTP/1.1\r\n\r\n",
    ] {
        let found = turned_away(proxy.addr, words).await;
        assert!(found.starts_with(b"HTTP/1.0 400 "), "{found:?}");
    }
    proxy.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_first_byte_is_turned_away_unless_it_begins_socks() {
    let proxy = Process::start("patient", 300).await;
    let addr = proxy.addr;
    let mut clients = JoinSet::new();
    for first in 0..=u8::MAX {
        clients.spawn(async move {
            if !matches!(first, 4 | 5) {
                // Alone, and before more of the same.
                let found = turned_away(addr, &[first]).await;
                let more = turned_away(addr, &[first; 600]).await;
                let is_http = b"CDGHOPT".contains(&first);
                assert_eq!(found.starts_with(b"HTTP/1.0 400 "), is_http);
                assert_eq!(found.is_empty(), !is_http);
                assert_eq!(more, found);
                return;
            }
            let mut client = connect(addr).await;
            client.write_all(&[first]).await.unwrap();
            waits(&mut client).await;
        });
    }
    clients.join_all().await;
    proxy.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_refused_at_the_byte_that_spoils_it() {
    let proxy = Process::start("patient", 300).await;
    let addr = proxy.addr;
    let mut clients = JoinSet::new();
    for byte in 0..=u8::MAX {
        clients.spawn(async move {
            // The version of a SOCKS5 request, and its type of address.
            for (before, good, code) in [
                (&b"\x05\x01\x00"[..], &[5][..], 1),
                (b"\x05\x01\x00\x05\x01\x00", &[1, 3, 4], 8),
            ] {
                let words = [before, &[byte]].concat();
                if good.contains(&byte) {
                    let mut client = connect(addr).await;
                    client.write_all(&words).await.unwrap();
                    let mut selection = [0; 2];
                    client.read_exact(&mut selection).await.unwrap();
                    assert_eq!(selection, *b"\x05\x00");
                    waits(&mut client).await;
                } else {
                    let found = turned_away(addr, &words).await;
                    let reply = [5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
                    assert_eq!(found, reply, "{words:?}");
                }
            }
            // The version of the password's message.
            let words = [&b"\x05\x01\x02"[..], &[byte]].concat();
            if byte != 1 {
                assert_eq!(turned_away(addr, &words).await, b"\x05\x02\x01\x01");
            }
        });
    }
    clients.join_all().await;
    proxy.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_never_longer_than_its_fields_can_be() {
    let proxy = Process::start("patient", 300).await;
    let no_nul = [b'a'; 256];
    let user_id = [b"\x04\x01\x00\x50\x7f\x00\x00\x01".as_slice(), &no_nul].concat();
    let name = [b"\x04\x01\x00\x50\x00\x00\x00\x01joe\0".as_slice(), &no_nul].concat();
    for words in [user_id, name] {
        let found = turned_away(proxy.addr, &words).await;
        assert_eq!(found, b"\x00\x5b\0\0\0\0\0\0");
    }
    proxy.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_in_a_crowd_leave_no_descriptor_and_keep_nobody_waiting() {
    let proxy = Process::start("patient", 300).await;
    let (target, _echo) = echo().await;
    let held = tunnel(proxy.addr, target).await;
    let at_rest = proxy.descriptors() - 2;
    drop(held);
    proxy.settle(at_rest).await;
    let mut clients = JoinSet::new();
    for _ in 0..300 {
        let addr = proxy.addr;
        clients.spawn(async move { turned_away(addr, TLS).await });
    }
    drop(tunnel(proxy.addr, target).await);
    clients.join_all().await;
    proxy.settle(at_rest).await;
    proxy.finish();
}
