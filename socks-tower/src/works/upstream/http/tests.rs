use std::convert::Infallible;

use socks_core::{Credentials, Target, v5::ReplyCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_test::io::{Builder, Mock};
use tower::service_fn;

use super::*;
use crate::{
    session::{Connector, Error, ErrorKind, Request, Session, Work},
    works::upstream::{UpstreamError, UpstreamFailure},
};

const ASKED: &[u8] = b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n";

fn request(target: &str) -> Request {
    let target = target.parse::<Target>().unwrap();
    Request::new(Session::new(), socks_core::v5::Command::CONNECT, target)
}

fn through<C>(inner: C) -> HttpConnector<C> {
    HttpConnector::new("proxy.example:80".parse().unwrap(), inner)
}

fn saying(asked: &[u8], pieces: &[&[u8]]) -> impl Connector<Request, Io = Mock> {
    let mut script = Builder::new();
    script.write(asked);
    for piece in pieces {
        script.read(piece);
    }
    service_fn(move |_: Request| {
        let io = script.build();
        async move { Ok::<_, Infallible>(io) }
    })
}

async fn answered(answer: &[u8]) -> Result<Vec<u8>, Error> {
    let connector = through(saying(ASKED, &[answer]));
    let connected = connector.run(request("example.com:80")).await;
    let mut rest = Vec::new();
    let mut io = connected
        .map_err(|error| *error.downcast::<Error>().unwrap())?
        .io;
    io.read_to_end(&mut rest).await.unwrap();
    Ok(rest)
}

#[tokio::test]
async fn what_follows_the_head_is_the_target_s() {
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA: b\n\r\n",
        "HTTP/1.1 299 \r\nVia: 1.1 a\r\n\r\n",
        // Neither means anything here: RFC 9110 section 9.3.6.
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        for early in ["", "hello", "\r\n\r\n", "\n"] {
            let rest = answered(format!("{head}{early}").as_bytes()).await;
            assert_eq!(rest.unwrap(), early.as_bytes(), "{head:?}");
        }
    }
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello";
    let pieces: Vec<_> = head.chunks(1).collect();
    let connector = through(saying(ASKED, &pieces));
    let mut upstream = connector.run(request("example.com:80")).await.unwrap();
    let mut rest = String::new();
    upstream.io.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hello");
}

#[tokio::test]
async fn credentials_go_with_the_request() {
    let asked = b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\
        Proxy-Authorization: Basic am9lOnNlOmNyZXQ=\r\n\r\n";
    let joe = Credentials::new("joe", "se:cret").unwrap();
    let connector = through(saying(asked, &[b"HTTP/1.1 200 OK\r\n\r\n"])).with_credentials(&joe);
    connector.run(request("[2001:db8::1]:443")).await.unwrap();
    let connector = through(()).with_credentials(&joe);
    assert!(!format!("{connector:?}").contains("am9l"));
}

#[tokio::test]
async fn every_status_is_told_apart() {
    use UpstreamFailure::{RefusedTarget, RefusedUs};

    for (status, failure, code) in [
        (403, RefusedTarget, ReplyCode::CONNECTION_NOT_ALLOWED),
        (404, RefusedTarget, ReplyCode::HOST_UNREACHABLE),
        (407, RefusedUs, ReplyCode::GENERAL_FAILURE),
        (502, RefusedTarget, ReplyCode::HOST_UNREACHABLE),
        (503, RefusedTarget, ReplyCode::HOST_UNREACHABLE),
        (504, RefusedTarget, ReplyCode::TTL_EXPIRED),
        (301, RefusedTarget, ReplyCode::GENERAL_FAILURE),
        (400, RefusedTarget, ReplyCode::GENERAL_FAILURE),
        (500, RefusedTarget, ReplyCode::GENERAL_FAILURE),
        (999, RefusedTarget, ReplyCode::GENERAL_FAILURE),
    ] {
        let answer = format!("HTTP/1.1 {status} Because\r\n\r\n");
        let error = answered(answer.as_bytes()).await.unwrap_err();
        let source = error.get_ref().unwrap();
        let said = source.downcast_ref::<UpstreamError>().unwrap();
        assert_eq!((said.failure(), error.reply()), (failure, code), "{status}");
        let is_ours = failure == RefusedUs;
        assert_eq!(error.kind() == ErrorKind::Upstream, is_ours, "{status}");
        let all = crate::session::Chain(&error).to_string();
        assert!(
            all.ends_with(&format!("HTTP status {status} Because")),
            "{all}"
        );
    }
}

#[tokio::test]
async fn what_is_no_answer_is_refused() {
    let long = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'b'; 70 << 10]].concat();
    let many = ["HTTP/1.1 200 OK\r\n", &"A: b\r\n".repeat(65), "\r\n"].concat();
    for answer in [
        &b"SSH-2.0-OpenSSH"[..],
        b"\x05\xff",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"",
        &long,
        many.as_bytes(),
    ] {
        // It hangs up then, or is not read to the end.
        let (near, mut far) = tokio::io::duplex(1 << 20);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let near = std::sync::Mutex::new(Some(near));
        let near = Arc::new(near);
        let inner = service_fn(move |_: Request| {
            let near = near.lock().unwrap().take().unwrap();
            async move { Ok::<_, Infallible>(near) }
        });
        let error = through(inner).run(request("a:1")).await.unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        let said = error.get_ref().unwrap().downcast_ref::<UpstreamError>();
        assert_eq!(said.unwrap().failure(), UpstreamFailure::Protocol);
        assert_eq!(error.reply(), ReplyCode::GENERAL_FAILURE);
    }
}

#[tokio::test]
async fn of_a_socket_nothing_behind_the_head_is_read_however_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    let long = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'b'; 3000], b"\r\n\r\n"].concat();
    for (head, pieces) in [
        (&head[..], 1),
        (head, 5),
        (head, 1000),
        (&long, 700),
        (&long, 1 << 20),
    ] {
        let all = [head, b"hello"].concat();
        let serving = async {
            let (mut io, _) = listener.accept().await.unwrap();
            io.set_nodelay(true).unwrap();
            let mut asked = vec![0; ASKED.len()];
            io.read_exact(&mut asked).await.unwrap();
            for piece in all.chunks(pieces) {
                io.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            io
        };
        let inner = service_fn(move |_: Request| TcpStream::connect(addr));
        let connecting = through(inner).run(request("example.com:80"));
        let (io, connected) = tokio::join!(serving, connecting);
        drop(io);
        let mut rest = String::new();
        let mut upstream = connected.unwrap();
        assert!(upstream.tcp().is_some());
        upstream.io.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello");
    }
}
