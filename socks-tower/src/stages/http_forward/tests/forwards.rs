//! What becomes of requests that make sense.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_request_goes_to_its_target_without_what_was_meant_for_us() {
    let mut world = World::new(open());
    world
        .say(
            "GET http://example.com:8080/a/b?c=d HTTP/1.1\r\n\
             Host: elsewhere\r\n\
             Accept: x\r\n\
             X-mIxed: y\r\n\
             Connection: keep-alive, X-Hop\r\n\
             X-Hop: 1\r\n\
             Keep-Alive: 5\r\n\
             Proxy-Connection: keep-alive\r\n\
             Proxy-Authorization: Basic am9lOmdvb2Q=\r\n\
             TE: gzip\r\n\
             Upgrade: h2c\r\n\
             \r\n",
        )
        .await;

    let (target, mut origin) = world.origin().await;
    assert_eq!(target, "example.com:8080");
    assert_eq!(
        head(&mut origin).await,
        "GET /a/b?c=d HTTP/1.1\r\n\
         Host: example.com:8080\r\n\
         Accept: x\r\n\
         X-mIxed: y\r\n\
         Connection: close\r\n\
         \r\n"
    );
    let answer = "HTTP/1.1 200 Fine\r\n\
                  Content-Length: 2\r\n\
                  Connection: X-Hop\r\n\
                  X-Hop: 1\r\n\
                  Keep-Alive: timeout=5\r\n\
                  Proxy-Authenticate: Basic realm=\"phish\"\r\n\
                  X-Other: 2\r\n\
                  \r\n\
                  ok";
    origin.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(
        until(&mut world.client, "ok").await,
        "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Other: 2\r\n\r\nok"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_the_target_is_what_the_url_says() {
    for (line, target, asked) in [
        ("GET http://a", "a:80", "GET / HTTP/1.1"),
        ("GET HTTP://a/", "a:80", "GET / HTTP/1.1"),
        ("GET http://a?b", "a:80", "GET /?b HTTP/1.1"),
        (
            "GET http://a:81//b/../c%20d",
            "a:81",
            "GET //b/../c%20d HTTP/1.1",
        ),
        (
            "GET http://[2001:db8::1]/",
            "[2001:db8::1]:80",
            "GET / HTTP/1.1",
        ),
        ("OPTIONS http://a", "a:80", "OPTIONS * HTTP/1.1"),
        ("OPTIONS http://a/", "a:80", "OPTIONS / HTTP/1.1"),
        ("BREW http://a/", "a:80", "BREW / HTTP/1.1"),
    ] {
        let mut world = World::new(open());
        world
            .say(format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        let (to, mut origin) = world.origin().await;
        assert_eq!(to, target, "{line}");
        let heard = head(&mut origin).await;
        assert_eq!(heard.lines().next(), Some(asked), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_may_come_byte_by_byte_and_at_once() {
    let request = "POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x=y\r\nabc\r\n0\r\n\r\n";
    let mut world = World::new(open());
    for byte in request.as_bytes() {
        world.say([*byte]).await;
        tokio::task::yield_now().await;
    }
    world.say(request.repeat(2)).await;
    for answer in ["one", "two", "end"] {
        let (_, mut origin) = world.origin().await;
        let body = until(&mut origin, "0\r\n\r\n").await;
        let body = body.replace("1\r\n", "").replace("\r\n", "");
        assert!(body.ends_with("abc0") && !body.contains("x=y"), "{body}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{answer}");
        origin.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(until(&mut world.client, &answer).await, answer);
    }
}

#[tokio::test(start_paused = true)]
async fn interim_answers_are_passed_on_to_who_knows_them() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: y\r\ny: z\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (version, heard) in [
        (
            "1.1",
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK",
        ),
        ("1.0", "HTTP/1.0 200 OK"),
    ] {
        let mut world = World::new(open());
        world
            .say(format!("GET http://a/ HTTP/{version}\r\nHost: a\r\n\r\n"))
            .await;
        let (_, mut origin) = world.origin().await;
        head(&mut origin).await;
        origin.write_all(interim.as_bytes()).await.unwrap();
        origin.write_all(answer.as_bytes()).await.unwrap();
        let client = until(&mut world.client, "ok").await;
        assert!(client.starts_with(heard), "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn options_and_trace_go_no_further_than_they_may() {
    for (method, said, passed) in [
        ("OPTIONS", "2", Some("1")),
        ("TRACE", "1", Some("0")),
        (
            "TRACE",
            "99999999999999999999999",
            Some("18446744073709551614"),
        ),
        // As it likes.
        ("GET", "0", Some("0")),
        ("OPTIONS", "0", None),
        ("TRACE", "000", None),
    ] {
        let mut world = World::new(users());
        world
            .say(format!(
                "{method} http://a/b HTTP/1.1\r\nHost: a\r\nCookie: c\r\nX: y\r\n\
                 Max-Forwards: {said}\r\n\
                 Proxy-Authorization: Basic am9lOmdvb2Q=\r\n\r\n"
            ))
            .await;
        if let Some(passed) = passed {
            let heard = head(&mut world.origin().await.1).await.to_lowercase();
            let field = format!("\r\nmax-forwards: {passed}\r\n");
            assert!(heard.contains(&field), "{heard}");
            continue;
        }
        let heard = head(&mut world.client).await.to_lowercase();
        assert!(heard.starts_with("http/1.1 200 "), "{heard}");
        assert!(world.is_alone());
        if method == "TRACE" {
            assert!(heard.contains("content-type: message/http\r\n"), "{heard}");
            let shown = head(&mut world.client).await;
            assert_eq!(
                shown,
                "TRACE http://a/b HTTP/1.1\r\nhost: a\r\nx: y\r\nmax-forwards: 000\r\n\r\n"
            );
        }
        // And the next is served.
        world.say("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let heard = head(&mut world.client).await;
        assert!(heard.starts_with("HTTP/1.1 407 "), "{heard}");
    }
    for wrong in ["", "-1", "+1", "1.0", "x", "1\r\nMax-Forwards: 1"] {
        let mut world = World::new(open());
        world
            .say(format!(
                "OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: {wrong}\r\n\r\n"
            ))
            .await;
        let heard = world.rest().await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{wrong}: {heard}");
        assert!(world.is_alone());
    }
}

const SWITCH: &str = "GET http://a/ HTTP/1.1\r\nHost: a\r\n\
                      Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_switched_with_bytes_behind_the_heads() {
    let mut world = World::new(open());
    world.say(format!("{SWITCH}early")).await;
    let (_, mut origin) = world.origin().await;
    let heard = head(&mut origin).await;
    assert!(
        heard.ends_with("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        "{heard}"
    );
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst";
    origin.write_all(answer.as_bytes()).await.unwrap();
    let heard = until(&mut world.client, "first").await;
    assert!(heard.contains("\r\nUpgrade: websocket\r\n"), "{heard}");

    assert_eq!(until(&mut origin, "early").await, "early");
    world.say("late").await;
    assert_eq!(until(&mut origin, "late").await, "late");
    origin.write_all(b"second").await.unwrap();
    drop(origin);
    assert_eq!(world.rest().await, "second");
    world.client.shutdown().await.unwrap();
    let transfer = soon(world.session).await.unwrap().unwrap();
    assert_eq!(transfer.end, crate::session::End::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_is_declined_leaves_http_as_it_is() {
    let mut world = World::new(open());
    world.say(format!("{SWITCH}{SWITCH}")).await;
    for _ in 0..2 {
        let (_, mut origin) = world.origin().await;
        head(&mut origin).await;
        origin
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
        until(&mut world.client, "ok").await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_came_by_is_told_if_that_is_asked_for() {
    let mut world = World::new(open().with_via("here").with_forwarded_for());
    world
        .say("GET http://a/ HTTP/1.0\r\nVia: 1.1 there\r\n\r\n")
        .await;
    let (_, mut origin) = world.origin().await;
    let heard = head(&mut origin).await;
    assert!(
        heard.contains("\r\nVia: 1.1 there\r\nvia: 1.0 here\r\n"),
        "{heard}"
    );
    origin
        .write_all(b"HTTP/1.1 204 None\r\n\r\n")
        .await
        .unwrap();
    let heard = world.rest().await;
    assert!(heard.contains("\r\nvia: 1.1 here\r\n"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_may_be_asked_for_first_and_later() {
    let mut world = World::new(open());
    world.say("CONNECT a:1 HTTP/1.1\r\n\r\nearly").await;
    let (target, mut origin) = world.origin().await;
    assert_eq!(target, "a:1");
    assert_eq!(until(&mut origin, "early").await, "early");
    head(&mut world.client).await;

    let mut world = World::new(open());
    world
        .say("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nCONNECT b:2 HTTP/1.1\r\n\r\nearly")
        .await;
    let (_, mut origin) = world.origin().await;
    head(&mut origin).await;
    origin
        .write_all(b"HTTP/1.1 204 None\r\n\r\n")
        .await
        .unwrap();
    let (target, mut origin) = world.origin().await;
    assert_eq!(target, "b:2");
    assert_eq!(until(&mut origin, "early").await, "early");
    let heard = until(&mut world.client, "established\r\n\r\n").await;
    assert!(
        heard.starts_with("HTTP/1.1 204 None\r\n\r\nHTTP/1.1 200 "),
        "{heard}"
    );
}

#[test]
fn a_tunnel_carries_nothing_for_plain_requests() {
    use tokio::net::TcpStream;

    use crate::{
        session::StageFuture,
        stages::{
            http_connect::HttpConnectFuture, http_forward::HttpForwardFuture, relay::RelayFuture,
        },
    };
    type Connect = HttpConnectFuture<RelayFuture<TcpStream, TcpStream>>;
    let room = size_of::<StageFuture<HttpForwardFuture<Connect>>>();
    assert!(
        room <= size_of::<Connect>() + 8,
        "{room} and {}",
        size_of::<Connect>()
    );
}
