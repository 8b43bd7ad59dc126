//! Bodies, and messages that break off.

use super::*;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const WAITS: &str = "POST http://a/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                     Content-Length: 5\r\n\r\n";

async fn asked(request: &str) -> (World, DuplexStream) {
    let mut world = World::new(open());
    world.say(request).await;
    let (_, origin) = world.origin().await;
    (world, origin)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_is_told_to_go_on_when_its_origin_is() {
    let (mut world, mut origin) = asked(WAITS).await;
    assert!(
        head(&mut origin)
            .await
            .contains("\r\nExpect: 100-continue\r\n")
    );
    origin
        .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        head(&mut world.client).await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    world.say("12345").await;
    assert_eq!(until(&mut origin, "5").await, "12345");
    origin.write_all(ANSWER.as_bytes()).await.unwrap();
    assert_eq!(until(&mut world.client, "ok").await, ANSWER);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_in_vain_is_told_to_go_on_after_a_second() {
    let began = tokio::time::Instant::now();
    let (mut world, mut origin) = asked(WAITS).await;
    head(&mut origin).await;
    assert_eq!(
        head(&mut world.client).await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    world.say("12345").await;
    assert_eq!(until(&mut origin, "5").await, "12345");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_answered_first_is_not_told_to_go_on() {
    let (mut world, mut origin) = asked(WAITS).await;
    head(&mut origin).await;
    origin
        .write_all(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    let heard = world.rest().await;
    assert_eq!(
        heard,
        "HTTP/1.1 417 No\r\nconnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    // Nor is its origin waited for, which still hopes for a body.
    soon(world.session).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn trailers_pass_both_ways_but_for_those_that_may_not() {
    let (mut world, mut origin) = asked(
        "POST http://a/ HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum, Host\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\nHost: b\r\n\r\n",
    )
    .await;
    let heard = until(&mut origin, "0\r\nx-sum: 6\r\n\r\n").await;
    assert!(heard.contains("\r\nTE: trailers\r\n"), "{heard}");
    let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                  2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n";
    origin.write_all(answer.as_bytes()).await.unwrap();
    until(&mut world.client, "\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_has_a_form_that_its_reader_knows() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let to_the_end = "HTTP/1.0 200 OK\r\n\r\nok";
    for (version, answer, heard) in [
        ("1.0", chunked, "HTTP/1.0 200 OK\r\n\r\nok"),
        ("1.0", to_the_end, "HTTP/1.0 200 OK\r\n\r\nok"),
        (
            "1.1",
            to_the_end,
            "\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ] {
        let request = format!("GET http://a/ HTTP/{version}\r\nHost: a\r\n\r\n");
        let (mut world, mut origin) = asked(&request).await;
        head(&mut origin).await;
        origin.write_all(answer.as_bytes()).await.unwrap();
        drop(origin);
        let client = until(&mut world.client, heard).await;
        assert!(client.ends_with(heard), "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_has_no_body() {
    let (mut world, mut origin) = asked("HEAD http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    head(&mut origin).await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    origin.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(head(&mut world.client).await, answer);
    world.client.shutdown().await.unwrap();
    assert_eq!(world.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_not_read() {
    const ALL: usize = 64 * 1024 * 1024;
    let (world, mut origin) = asked("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    head(&mut origin).await;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\n");
    origin.write_all(answer.as_bytes()).await.unwrap();
    let mut sent = 0;
    let bytes = [b'x'; 16 * 1024];
    while let Ok(written) = timeout(Duration::from_secs(1), origin.write_all(&bytes)).await {
        written.unwrap();
        sent += bytes.len();
    }
    // In the pipes of this test, and here.
    assert!(sent <= 2 * ROOM + 512 * 1024, "{sent}");
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_breaks_off_leaves_an_answer_without_its_end() {
    for (answer, heard) in [
        ("Content-Length: 9\r\n\r\nok", "Content-Length: 9\r\n\r\nok"),
        (
            "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n2 \r\n",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        ),
    ] {
        let (mut world, mut origin) = asked("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        head(&mut origin).await;
        let (first, last) = answer.split_at(answer.rfind("ok").unwrap() + 2);
        origin
            .write_all(format!("HTTP/1.1 200 OK\r\n{first}").as_bytes())
            .await
            .unwrap();
        let mut client = until(&mut world.client, "ok").await;
        origin.write_all(last.as_bytes()).await.unwrap();
        drop(origin);
        client += &world.rest().await;
        let client = client.trim_end_matches("\r\n");
        assert_eq!(
            client,
            format!("HTTP/1.1 200 OK\r\n{heard}").trim_end_matches("\r\n")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_breaks_off_ends_its_tunnel() {
    for request in [
        "POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        "POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let (world, mut origin) = asked(request).await;
        until(&mut origin, "abc").await;
        drop(world.client);
        let rest = rest(&mut origin).await;
        assert!(!rest.contains("0\r\n\r\n"), "{rest}");
        soon(world.session).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_done_sending_still_gets_its_answer() {
    let (mut world, mut origin) = asked("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    world.client.shutdown().await.unwrap();
    head(&mut origin).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    origin.write_all(ANSWER.as_bytes()).await.unwrap();
    assert_eq!(world.rest().await, ANSWER);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_left_once_its_tunnel_is_gone() {
    let mut world = World::new(open());
    let (client, io) = duplex(64);
    world.client = client;
    let (found, mut origins) = unbounded_channel();
    let connector = service_fn(move |_: Request| {
        let (near, far) = duplex(ROOM);
        found.send(far).unwrap();
        async { Ok::<_, Infallible>(near) }
    });
    let session = tokio::spawn(serve(open(), connector, io));
    world.say("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut origin = soon(origins.recv()).await.unwrap();
    head(&mut origin).await;
    let body = "x".repeat(4096);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n{body}");
    origin.write_all(answer.as_bytes()).await.unwrap();
    drop(origin);
    let began = tokio::time::Instant::now();
    soon(session).await.unwrap().unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(70),
        "{:?}",
        began.elapsed()
    );
}
