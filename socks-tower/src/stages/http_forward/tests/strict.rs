//! Messages that have two readings, tried from both sides.

use super::*;

const HOST: &str = "Host: a\r\n";

/// What has two readings whoever says it, behind `{}`: the line that begins the message.
fn two_readings() -> Vec<String> {
    let mut all = Vec::new();
    for lengths in ["+2", "-2", "2 2", "0x2", "2a", "", "2\x0b", "\x0c2", "2, 2"] {
        all.push(format!("Content-Length: {lengths}\r\n\r\nok"));
    }
    all.push(format!("Content-Length: {}\r\n\r\nok", u128::MAX));
    for codings in [
        "chunked, chunked",
        "identity",
        "identity, chunked",
        "chunked, identity",
        "gzip, chunked",
        "chunked;q=1",
        "chunked\x0b",
        "\x0cchunked",
        ",chunked",
        "x",
        "",
    ] {
        all.push(format!("Transfer-Encoding: {codings}\r\n\r\n0\r\n\r\n"));
    }
    for fields in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 2\n\r\nok",
        "A: b\nContent-Length: 2\r\n\r\nok",
        "A: b\rContent-Length: 2\r\n\r\nok",
        "A: b\r\rContent-Length: 2\r\n\r\nok",
        "A: \0\r\nContent-Length: 2\r\n\r\nok",
        "A: \x0b\r\nContent-Length: 2\r\n\r\nok",
        "A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        "A: b\r\n\tContent-Length: 2\r\n\r\nok",
        "Content-Length : 2\r\n\r\nok",
        "Content-Length\t: 2\r\n\r\nok",
        "Content-Length 2\r\n\r\nok",
        ": 2\r\n\r\nok",
    ] {
        all.push(fields.to_owned());
    }
    for chunks in [
        "2 \r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2\r\nok0\r\n\r\n",
        "2\r\noks\r\n0\r\n\r\n",
        "2;a\nok\r\n0\r\n\r\n",
        "2;\0\r\nok\r\n0\r\n\r\n",
        "10000000000000002\r\nok\r\n0\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\n A: b\r\n\r\n",
        "0\r\n\n",
    ] {
        all.push(format!("Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    }
    all
}

/// Says it, and reads what the client hears until it is hung up on.
async fn refused(request: &str) -> (String, World) {
    let mut world = World::new(open());
    world.say(request).await;
    let heard = world.rest().await;
    (heard, world)
}

#[tokio::test(start_paused = true)]
async fn a_request_with_two_readings_is_400_and_the_end() {
    let mut all: Vec<_> = two_readings()
        .iter()
        .map(|rest| format!("{HOST}{rest}"))
        .collect();
    all.push("\r\n".to_owned());
    all.push(format!("{HOST}{HOST}\r\n"));
    all.push(format!("{HOST}host: b\r\n\r\n"));
    all.push(format!(" A: b\r\n{HOST}\r\n"));
    let auth = "Proxy-Authorization: Basic am9lOmdvb2Q=\r\n";
    all.push(format!("{HOST}{auth}{auth}\r\n"));
    for rest in all {
        let next = "GET http://smuggled/ HTTP/1.1\r\nHost: a\r\n\r\n";
        let request = format!("POST http://a/ HTTP/1.1\r\n{rest}{next}");
        let (heard, mut world) = refused(&request).await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{request:?}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1").count(), 1, "{request:?}: {heard}");
        // Of one whose body is wrong the origin has heard, but never to its end.
        while let Ok((target, mut origin)) = world.origins.try_recv() {
            assert_eq!(target, "a:80");
            let heard = super::rest(&mut origin).await;
            assert!(!heard.ends_with("0\r\n\r\n"), "{request:?}: {heard}");
        }
    }
    let old = "POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(refused(old).await.0.starts_with("HTTP/1.1 400 "));
}

#[tokio::test(start_paused = true)]
async fn a_first_line_that_names_no_target_is_refused() {
    let port = (1u64 << 32) + 80;
    for (line, status) in [
        ("GET / HTTP/1.1", "400"),
        ("GET * HTTP/1.1", "400"),
        ("GET https://a/ HTTP/1.1", "400"),
        ("GET ftp://a/ HTTP/1.1", "400"),
        ("GET a:80 HTTP/1.1", "400"),
        ("GET http:/a HTTP/1.1", "400"),
        ("GET http:// HTTP/1.1", "400"),
        ("GET http:///a HTTP/1.1", "400"),
        ("GET http://u:p@a/ HTTP/1.1", "400"),
        ("GET http://u@a/ HTTP/1.1", "400"),
        ("GET http://a:/ HTTP/1.1", "400"),
        ("GET http://a:+80/ HTTP/1.1", "400"),
        (&format!("GET http://a:{port}/ HTTP/1.1"), "400"),
        ("GET http://a:65536/ HTTP/1.1", "400"),
        ("GET http://[::1/ HTTP/1.1", "400"),
        ("GET http://a%2e/ HTTP/1.1", "400"),
        ("GET http://a/#b HTTP/1.1", "400"),
        ("GET  http://a/ HTTP/1.1", "400"),
        ("GET\thttp://a/ HTTP/1.1", "400"),
        ("GET http://a/ HTTP/1.2", "505"),
        ("GET http://a/ HTTP/2.0", "505"),
        ("PRI * HTTP/2.0", "505"),
    ] {
        let (heard, mut world) = refused(&format!("{line}\r\n{HOST}\r\n")).await;
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {heard}"
        );
        assert!(world.is_alone(), "{line}");
        let error = soon(world.session).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), crate::session::ErrorKind::Protocol);
    }
    let (page, _) = refused(&format!("GET / HTTP/1.1\r\n{HOST}\r\n")).await;
    assert!(page.contains("This is a proxy"), "{page}");
    let (head, _) = refused(&format!("HEAD / HTTP/1.1\r\n{HOST}\r\n")).await;
    assert!(
        head.ends_with("\r\n\r\n") && !head.contains("proxy"),
        "{head}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_is_capped() {
    let head = |len: usize| {
        let line = format!("GET http://a/ HTTP/1.1\r\n{HOST}A: ");
        format!("{line}{}\r\n\r\n", "b".repeat(len - line.len() - 4))
    };
    let many = format!(
        "GET http://a/ HTTP/1.1\r\n{HOST}{}\r\n",
        "A: b\r\n".repeat(100)
    );
    for long in [
        head(64 * 1024 + 1),
        many,
        format!("GET {}", "a".repeat(70_000)),
    ] {
        let (heard, _) = refused(&long).await;
        assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");
    }
    let mut world = World::new(open());
    world.say(head(64 * 1024)).await;
    world.origin().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_two_readings_is_502() {
    let mut all: Vec<_> = two_readings()
        .iter()
        .map(|rest| format!("200 OK\r\n{rest}"))
        .collect();
    let next = "HTTP/1.1 200 Evil\r\nContent-Length: 4\r\n\r\nevil";
    for answer in [
        "204 None\r\nContent-Length: 2\r\n\r\nok",
        "204 None\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "101 Unasked\r\nUpgrade: websocket\r\n\r\n",
        "100 Continue\r\nContent-Length: 2\r\n\r\nok",
        "099 Low\r\n\r\n",
        "\r\n\r\n",
    ] {
        all.push(answer.to_owned());
    }
    all.push(format!("204 None\r\n\r\n{next}"));
    all.push(format!("304 Same\r\nContent-Length: 4\r\n\r\n{next}"));
    let mut all: Vec<_> = all.iter().map(|rest| format!("HTTP/1.1 {rest}")).collect();
    for answer in [
        "hello",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "\x16\x03",
    ] {
        all.push(answer.to_owned());
    }
    all.push("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned());
    all.push(format!(
        "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
        "b".repeat(64 * 1024)
    ));
    for answer in all {
        let mut world = World::new(open());
        world
            .say(format!("GET http://a/ HTTP/1.1\r\n{HOST}\r\n"))
            .await;
        world.client.shutdown().await.unwrap();
        let (_, mut origin) = world.origin().await;
        head(&mut origin).await;
        // It may be hung up on before it has said all.
        let _ = origin.write_all(answer.as_bytes()).await;
        let heard = world.rest().await;
        assert!(heard.starts_with("HTTP/1.1 502 "), "{answer:?}: {heard}");
        assert!(!heard.contains("evil"), "{answer:?}: {heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_with_a_body_is_502() {
    let mut world = World::new(open());
    world
        .say(format!("HEAD http://a/ HTTP/1.1\r\n{HOST}\r\n"))
        .await;
    let (_, mut origin) = world.origin().await;
    head(&mut origin).await;
    origin
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    assert!(head(&mut world.client).await.starts_with("HTTP/1.1 502 "));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever comes, from either side, ends the session and nothing else.
    #[test]
    fn garbage_ends_a_session(
        client in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        origin in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        is_request in proptest::prelude::any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let mut world = World::new(open());
            if is_request {
                let head = "POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
                world.say(head).await;
            }
            world.say(client).await;
            world.client.shutdown().await.unwrap();
            tokio::task::yield_now().await;
            while let Ok((_, mut io)) = world.origins.try_recv() {
                io.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok();
                io.write_all(&origin).await.ok();
            }
            world.rest().await;
            let _ended = soon(world.session).await.unwrap();
        });
    }
}
