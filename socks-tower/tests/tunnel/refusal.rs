//! A client that is turned away reads why, however much it has sent by then.

use std::time::Duration;

use socks_tower::{AuthenticateLayer, Rules, Socks, Socks4, Socks5, TcpConnector, Users};
use tokio::{io::AsyncWriteExt, net::TcpSocket};

use crate::{
    proxy::{Proxy, socks},
    speaks::Speaks,
    streams::{all_of, noise},
};

/// More than is kept of early bytes, and than one read takes.
const EARLY: usize = 32 * 1024;

/// Says `words` and much more; returns all that the proxy says to its orderly
/// end.
async fn told(proxy: &Proxy, words: &[u8]) -> Vec<u8> {
    let mut client = proxy.client().await;
    let all = [words, &noise(EARLY)].concat();
    client.write_all(&all).await.unwrap();
    let found = all_of(&mut client).await;
    // A reset would come now. On Linux it would not take away what has arrived,
    // but elsewhere it does.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let error = client.take_error().unwrap();
    assert!(error.is_none(), "{error:?}");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_dial_is_reported_whole_in_every_version() {
    // Bound, so that nobody else is given the port; not listening.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = closed.local_addr().unwrap();
    let proxy = Proxy::new().await;
    for speaks in Speaks::ALL {
        let words = speaks.connect(target);
        assert_eq!(told(&proxy, &words).await, speaks.refusal(5), "{speaks:?}");
    }
}

/// TCP lets a socket connect to itself, if the port that the system gives it
/// happens to be the one that it dials: here it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_where_only_we_are_is_closed_in_every_version() {
    let free = TcpSocket::new_v4().unwrap();
    free.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = free.local_addr().unwrap();
    drop(free);
    let itself = TcpConnector::new().with_setup(|socket, target| socket.bind(target));
    let proxy = Proxy::of(socks(itself)).await;
    for speaks in Speaks::ALL {
        let words = speaks.connect(target);
        assert_eq!(told(&proxy, &words).await, speaks.refusal(5), "{speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_reported_whole_in_every_version() {
    let proxy = Proxy::of(socks(TcpConnector::new()).with_rules(Rules::new())).await;
    for speaks in Speaks::ALL {
        let words = speaks.connect("127.0.0.1:1".parse().unwrap());
        assert_eq!(told(&proxy, &words).await, speaks.refusal(2), "{speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_not_served_is_reported_whole_in_every_version() {
    let proxy = Proxy::new().await;
    for speaks in Speaks::ALL {
        let mut words = speaks.connect("127.0.0.1:1".parse().unwrap());
        // The request of SOCKS5 is the last 10 bytes.
        let command = match speaks {
            Speaks::V4 | Speaks::V4a => 1,
            Speaks::V5 | Speaks::V5Password => words.len() - 9,
        };
        words[command] = 2;
        assert_eq!(told(&proxy, &words).await, speaks.refusal(7), "{speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_request_is_reported_whole() {
    let proxy = Proxy::new().await;
    let greeting = b"\x05\x01\x00".as_slice();
    for (request, code) in [(b"\x05\x01\x00\x02", 8), (b"\x04\x01\x00\x01", 1)] {
        let words = [greeting, request].concat();
        assert_eq!(told(&proxy, &words).await, Speaks::V5.refusal(code));
    }
    let endless_user_id = b"\x04\x01\x00\x50\x7f\x00\x00\x01".as_slice();
    let user_id = [b'a'; 300];
    let words = [endless_user_id, &user_id].concat();
    assert_eq!(told(&proxy, &words).await, Speaks::V4.refusal(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_reported_whole() {
    let proxy = Proxy::new().await;
    for login in [&b"\x01\x03joe\x03bad"[..], b"\x01\x00\x00", b"\x05\x03joe"] {
        let words = [b"\x05\x01\x02", login].concat();
        assert_eq!(told(&proxy, &words).await, b"\x05\x02\x01\x01");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_no_method_will_do_is_reported_whole() {
    let proxy = Proxy::new().await;
    for greeting in [&b"\x05\x00"[..], b"\x05\x01\x01", b"\x05\x02\x80\xff"] {
        assert_eq!(told(&proxy, greeting).await, b"\x05\xff");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_version_is_not_served_is_reported_whole() {
    let target = "127.0.0.1:1".parse().unwrap();
    let only_5 = Proxy::of(Socks5::new()).await;
    let only_4 = Proxy::of(Socks4::new()).await;
    let users = Users::new().with("joe", "secret").unwrap();
    let with_users = Socks::new().with_auth(AuthenticateLayer::password(users));
    let with_users = Proxy::of(with_users).await;
    for speaks in [Speaks::V4, Speaks::V4a] {
        for proxy in [&only_5, &with_users] {
            let found = told(proxy, &speaks.connect(target)).await;
            assert_eq!(found, speaks.refusal(1), "{speaks:?}");
        }
    }
    for speaks in [Speaks::V5, Speaks::V5Password] {
        let found = told(&only_4, &speaks.connect(target)).await;
        assert_eq!(found, b"\x05\xff", "{speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_http_is_told_so_whole() {
    let proxy = Proxy::new().await;
    let found = told(&proxy, b"POST http://127.0.0.1/ HTTP/1.1\r\n\r\n").await;
    let found = String::from_utf8(found).unwrap();
    assert!(found.starts_with("HTTP/1.0 400 "), "{found}");
    assert!(found.ends_with("It does not speak HTTP.\r\n"), "{found}");
}
