//! What it logs, and what it never does.

use socks_tests::{
    child::Child,
    client::{Refused, assert_echoes, read_to_the_end, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn by_default_a_session_logs_nothing() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"quiet").await;
    drop(tunnel);
    child.terminate();
    assert_eq!(child.wait().await.1, "");
}

#[tokio::test]
async fn a_denied_target_logs_the_flag_that_allows_it_once() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&[]).await;
    for _ in 0..3 {
        let denied = socks5(child.addr(), None, origin.addr()).await;
        assert_eq!(denied.unwrap_err(), Refused::Request(2));
    }
    child.terminate();
    let (_, log) = child.wait().await;
    assert_eq!(log.matches("--allow-private").count(), 1, "{log}");
}

#[tokio::test]
async fn json_is_one_object_a_line_and_a_session_ends_in_one_event() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&[
        "--allow-private",
        "--log",
        "info",
        "--log-format",
        "json",
        "--user",
        "joe:s3cret",
    ])
    .await;
    let login = Some(("joe", "s3cret"));
    let mut tunnel = socks5(child.addr(), login, origin.addr()).await.unwrap();
    let client = tunnel.local_addr().unwrap();
    assert_echoes(&mut tunnel, b"twelve bytes").await;
    tunnel.shutdown().await.unwrap();
    assert_eq!(read_to_the_end(&mut tunnel).await, b"");
    child.terminate();
    let (_, log) = child.wait().await;
    let lines: Vec<_> = log.lines().collect();
    for line in &lines {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
    let events = lines.iter().filter(|line| line.contains("socks::access"));
    let [event] = events.collect::<Vec<_>>()[..] else {
        panic!("not one event: {log}");
    };
    let port = origin.port();
    for field in [
        r#""level":"INFO""#,
        r#""bytes_up":12"#,
        r#""bytes_down":12"#,
        r#""user.name":"joe""#,
        r#""client.address":"127.0.0.1""#,
        &format!(r#""client.port":{}"#, client.port()),
        r#""server.address":"127.0.0.1""#,
        &format!(r#""server.port":{port}"#),
        r#""network.protocol.version":"5""#,
    ] {
        assert!(event.contains(field), "no {field} in {event}");
    }
}

#[tokio::test]
async fn a_failed_session_ends_in_one_event_with_the_reason() {
    let child = Child::start(&["--log", "info", "--log-format", "json"]).await;
    let denied = socks5(child.addr(), None, "127.0.0.1:1".parse().unwrap()).await;
    assert_eq!(denied.unwrap_err(), Refused::Request(2));
    child.wait_for_log("socks::access").await;
    child.terminate();
    let (_, log) = child.wait().await;
    assert_eq!(log.matches("socks::access").count(), 1, "{log}");
    assert!(log.contains(r#""error.type":"denied""#), "{log}");
}

#[tokio::test]
async fn the_access_log_alone_has_a_line_for_each_session_and_no_other() {
    let origin = Origin::echo(V4).await;
    let flags = ["--allow-private", "--grace", "1"];
    let filter = ["--log", "socks::access=info"];
    let child = Child::start(&[&flags[..], &filter].concat()).await;
    for _ in 0..3 {
        let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
        assert_echoes(&mut tunnel, b"twelve bytes").await;
    }
    // Held open: it is cut by the shutdown, and in the log all the same.
    let mut held = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut held, b"twelve bytes").await;
    child.terminate();
    let (_, log) = child.wait().await;
    assert_eq!(log.lines().count(), 4, "{log}");
    for line in log.lines() {
        assert!(line.contains(" socks::access: "), "{line}");
        assert!(line.contains("bytes_up=12 bytes_down=12 "), "{line}");
        // The span's copy of the fields is not in it.
        assert_eq!(
            line.matches("client.address=127.0.0.1 ").count(),
            1,
            "{line}"
        );
    }
    assert_eq!(log.matches(r#"error.type="cut""#).count(), 1, "{log}");
}

/// Of the forms, that for people: what a client says begins no line and no field.
#[tokio::test]
async fn no_name_forges_a_line_of_the_text_log() {
    let child = Child::start(&["--log", "info"]).await;
    let name = b"joe end=\"closed\"\n\x1b[31m";
    let mut client = TcpStream::connect(child.addr()).await.unwrap();
    let words = [b"\x04\x01\x00\x50\x7f\x00\x00\x01", &name[..], b"\x00"];
    client.write_all(&words.concat()).await.unwrap();
    read_to_the_end(&mut client).await;
    child.wait_for_log("socks::access").await;
    child.terminate();
    let (_, log) = child.wait().await;
    let said = r#"socks.user_id="joe end=\"closed\"\n"#;
    assert!(log.contains(said), "{log}");
    assert!(!log.contains('\x1b'), "{log}");
    let lines = log.lines().filter(|line| line.contains("socks.user_id="));
    assert_eq!(lines.count(), 1, "{log}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_session_and_not_the_end() {
    // Twice what fits into the pipe.
    const SESSIONS: usize = 300;
    let origin = Origin::echo(V4).await;
    for runtime in ["per-thread", "shared"] {
        for is_read_at_last in [true, false] {
            let args = ["--allow-private", "--log", "info", "--runtime", runtime];
            let (child, mut stderr) = Child::start_unread(&args).await;
            let mut held = socks5(child.addr(), None, origin.addr()).await.unwrap();
            for _ in 1..SESSIONS {
                let tunnel = socks5(child.addr(), None, origin.addr());
                let mut tunnel = patiently("a tunnel", tunnel).await.unwrap();
                assert_echoes(&mut tunnel, b"carried").await;
            }
            assert_echoes(&mut held, b"still here").await;
            drop(held);
            child.terminate();
            let mut log = String::new();
            if is_read_at_last {
                stderr.read_to_string(&mut log).await.unwrap();
                assert_eq!(log.matches("session ended").count(), SESSIONS);
            }
            let (status, _) = child.wait().await;
            assert_eq!(status.code(), Some(0));
        }
    }
}

#[tokio::test]
async fn a_browser_gets_a_page_at_once() {
    let whole = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Where no HTTP is served, nobody waits for the rest of a request.
    for (args, said) in [(&[][..], whole), (&["--no-http"], "GET / HTTP/1.1\r\n")] {
        let child = Child::start(args).await;
        let mut stream = TcpStream::connect(child.addr()).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut page = String::new();
        let read = stream.read_to_string(&mut page);
        patiently("a page", read).await.unwrap();
        assert!(page.starts_with("HTTP/1."), "{page}");
        assert!(!page.contains("408"), "{page}");
        assert!(page.contains("SOCKS"), "{page}");
    }
}
