//! Connections that are used again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::net::TcpListener;

use super::*;
use crate::session::{Pinned, Refusal};

/// Counts its connections, answers each request with the number of its connection, and
/// ends each after so many.
struct Origin {
    url: String,
    came: Arc<AtomicUsize>,
}

impl Origin {
    async fn new(each: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((mut io, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(async move {
                    for _ in 0..each {
                        head(&mut io).await;
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{number:02}");
                        io.write_all(answer.as_bytes()).await.unwrap();
                    }
                    // One more is read, and not answered.
                    if each > 0 {
                        head(&mut io).await;
                    }
                });
            }
        });
        Self { url, came }
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// Serves at a pipe, by rules that say yes as long as `permits`.
fn client(permits: &Arc<AtomicBool>) -> DuplexStream {
    let (client, io) = duplex(ROOM);
    let yes = Arc::clone(permits);
    let rules = service_fn(move |request: Request<Pinned>| {
        let yes = yes.load(Ordering::SeqCst);
        async move {
            yes.then_some(request)
                .ok_or(Refusal::not_allowed("no more"))
        }
    });
    tokio::spawn(serve(users(), keeping(rules), io));
    client
}

const JOE: &str = "Proxy-Authorization: Basic am9lOmdvb2Q=\r\n";

async fn ask(client: &mut DuplexStream, method: &str, url: &str) -> String {
    let request = format!("{method} {url} HTTP/1.1\r\nHost: a\r\n{JOE}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let head = head(client).await.to_lowercase();
    let len = head
        .split_once("content-length: ")
        .map_or("0\r", |(_, len)| len);
    let len = len.split('\r').next().unwrap().parse().unwrap();
    let mut body = vec![0; len];
    soon(client.read_exact(&mut body)).await.unwrap();
    format!("{} {}", &head[9..12], String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_connection_is_used_again_for_the_same_target_alone() {
    let permits = Arc::new(AtomicBool::new(true));
    let (one, two) = (Origin::new(9).await, Origin::new(9).await);
    let mut joe = client(&permits);
    for (origin, heard) in [
        (&one, "01"),
        (&one, "01"),
        (&two, "01"),
        (&one, "02"),
        (&one, "02"),
    ] {
        assert_eq!(
            ask(&mut joe, "GET", &origin.url).await,
            format!("200 {heard}")
        );
    }
    assert_eq!((one.came(), two.came()), (2, 1));
    // Another client has none to use again.
    assert_eq!(ask(&mut client(&permits), "GET", &one.url).await, "200 03");
}

#[tokio::test]
async fn rules_are_asked_before_a_connection_is_used_again() {
    let permits = Arc::new(AtomicBool::new(true));
    let origin = Origin::new(9).await;
    let mut joe = client(&permits);
    assert_eq!(ask(&mut joe, "GET", &origin.url).await, "200 01");
    permits.store(false, Ordering::SeqCst);
    let refused = ask(&mut joe, "GET", &origin.url).await;
    assert!(refused.starts_with("403 "), "{refused}");
    permits.store(true, Ordering::SeqCst);
    assert_eq!(ask(&mut joe, "GET", &origin.url).await, "200 02");
}

#[tokio::test]
async fn each_request_shows_its_credentials() {
    let permits = Arc::new(AtomicBool::new(true));
    let origin = Origin::new(9).await;
    let mut joe = client(&permits);
    assert_eq!(ask(&mut joe, "GET", &origin.url).await, "200 01");
    let nobody = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", origin.url);
    joe.write_all(nobody.as_bytes()).await.unwrap();
    let refused = until(&mut joe, "password.\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 407 "), "{refused}");
    assert_eq!(ask(&mut joe, "GET", &origin.url).await, "200 01");
}

#[tokio::test]
async fn what_does_no_harm_twice_is_sent_again_if_nothing_came_back() {
    for (method, heard) in [("GET", "200 02"), ("DELETE", "200 02"), ("POST", "502 ")] {
        let permits = Arc::new(AtomicBool::new(true));
        let origin = Origin::new(1).await;
        let mut joe = client(&permits);
        assert_eq!(ask(&mut joe, method, &origin.url).await, "200 01");
        let again = ask(&mut joe, method, &origin.url).await;
        assert!(again.starts_with(heard), "{method}: {again}");
    }
}

#[tokio::test]
async fn what_was_not_sent_to_a_new_connection_is_not_sent_again() {
    let permits = Arc::new(AtomicBool::new(true));
    let origin = Origin::new(0).await;
    let answer = ask(&mut client(&permits), "GET", &origin.url).await;
    assert!(answer.starts_with("502 "), "{answer}");
    assert_eq!(origin.came(), 1);
}

#[tokio::test]
async fn what_comes_unasked_is_no_answer_to_the_next_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (said, mut says) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for answer in ["01", "02"] {
            let (mut io, _) = listener.accept().await.unwrap();
            head(&mut io).await;
            let ok = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{answer}");
            io.write_all(ok.as_bytes()).await.unwrap();
            says.recv().await;
            let _ = io
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
                .await;
            rest(&mut io).await;
            says.recv().await;
        }
    });
    let permits = Arc::new(AtomicBool::new(true));
    let mut joe = client(&permits);
    assert_eq!(ask(&mut joe, "GET", &url).await, "200 01");
    said.send(()).await.unwrap();
    // It hangs up on that.
    said.send(()).await.unwrap();
    assert_eq!(ask(&mut joe, "GET", &url).await, "200 02");
}
