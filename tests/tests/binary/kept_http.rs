//! Plain HTTP on connections that are kept, and what ends them.

use rustix::process::Signal;
use socks_tests::{
    child::Child,
    client::read_to_the_end,
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::file::File;

const BEGIN: &str = "listen = [\"127.0.0.1:0\"]\nlog = \"warn,socks_proxy=info\"\n";

/// Answers one request after the other.
async fn serve(mut stream: TcpStream) {
    let mut heard = Vec::new();
    while stream.read_buf(&mut heard).await.unwrap_or(0) > 0 {
        if heard.ends_with(b"\r\n\r\n") {
            heard.clear();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            let _ = stream.write_all(answer).await;
        }
    }
}

async fn ask(stream: &mut TcpStream, origin: &Origin) {
    let addr = origin.addr();
    let request = format!("GET http://{addr}/ HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    // It may have hung up.
    let _ = stream.write_all(request.as_bytes()).await;
}

/// The status of an answer whose body is "ok", or ends in a line feed.
async fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    while !(heard.ends_with(b"\r\n\r\nok") || heard.ends_with(b".\r\n")) {
        let read = patiently("an answer", stream.read_buf(&mut heard)).await;
        assert_ne!(read.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
    }
    let status = heard.get(9..12).unwrap();
    String::from_utf8_lossy(status).into_owned()
}

#[tokio::test]
async fn a_reload_ends_them_so_that_no_request_goes_by_old_rules() {
    let origin = Origin::serve(V4, serve).await;
    for runtime in ["per-thread", "shared"] {
        let file = File::new(&format!("{BEGIN}allow-private = true"));
        let child = Child::start_as(&["--config", file.name(), "--runtime", runtime]).await;
        let mut client = TcpStream::connect(child.addr()).await.unwrap();
        for _ in 0..2 {
            ask(&mut client, &origin).await;
            assert_eq!(hear(&mut client).await, "200");
        }
        file.write(BEGIN);
        child.signal(Signal::HUP);
        child.wait_for_log("reloaded").await;
        ask(&mut client, &origin).await;
        assert_eq!(read_to_the_end(&mut client).await, b"");
        let mut client = TcpStream::connect(child.addr()).await.unwrap();
        ask(&mut client, &origin).await;
        assert_eq!(hear(&mut client).await, "403");
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_those_that_are_idle() {
    let origin = Origin::serve(V4, serve).await;
    let child = Child::start(&["--allow-private", "--grace", "3600"]).await;
    let mut client = TcpStream::connect(child.addr()).await.unwrap();
    ask(&mut client, &origin).await;
    assert_eq!(hear(&mut client).await, "200");
    child.terminate();
    let (status, _) = child.wait().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn each_request_has_a_line_and_a_limit_of_its_own() {
    let origin = Origin::serve(V4, serve).await;
    let args = [
        "--allow-private",
        "--limit",
        "new=3/minute",
        "--log",
        "info",
    ];
    let child = Child::start(&args).await;
    let mut client = TcpStream::connect(child.addr()).await.unwrap();
    for status in ["200", "200", "200", "429"] {
        ask(&mut client, &origin).await;
        assert_eq!(hear(&mut client).await, status);
    }
    // They are written when a request is answered, while the client is here.
    let lines = async {
        while child.log().matches("socks::access").count() < 4 {
            tokio::task::yield_now().await;
        }
    };
    patiently("four lines", lines).await;
}
