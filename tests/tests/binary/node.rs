//! One proxy among several: what it is called, and whether clients may come.

use std::net::SocketAddr;

use socks_tests::{
    child::Child,
    client::{assert_echoes, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Duration, sleep},
};

/// A port that was free a moment ago.
async fn free() -> String {
    let listener = TcpListener::bind((V4, 0)).await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// What `addr` says to `asked`, until it hangs up.
async fn said(addr: &str, asked: &str) -> String {
    let addr: SocketAddr = addr.parse().unwrap();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut said = String::new();
    let read = stream.read_to_string(&mut said);
    patiently("an answer", read).await.unwrap();
    said
}

async fn get(admin: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    said(admin, &request).await
}

#[tokio::test]
async fn a_name_is_in_every_line_of_the_log_on_metrics_and_on_the_page() {
    let origin = Origin::echo(V4).await;
    for (format, field) in [("text", " node=left-1"), ("json", r#"{"node":"left-1","#)] {
        let admin = free().await;
        let args = ["--allow-private", "--node", "left-1", "--admin", &admin];
        let log = ["--log", "info", "--log-format", format];
        let child = Child::start(&[&args[..], &log].concat()).await;
        let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
        assert_echoes(&mut tunnel, b"twelve bytes").await;
        let metrics = get(&admin, "/metrics").await;
        let live = r#"socks_live_sessions{node="left-1"} 1"#;
        assert!(metrics.contains(live), "{metrics}");
        let page = get(&admin, "/api/state").await;
        assert!(page.contains(r#""node":"left-1""#), "{page}");
        drop(tunnel);
        child.terminate();
        let (_, log) = child.wait().await;
        assert!(log.contains("session ended"), "{log}");
        for line in log.lines() {
            assert_eq!(line.matches(field).count(), 1, "{line}");
            match format {
                "text" => assert!(line.ends_with(field), "{line}"),
                _ => drop(serde_json::from_str::<serde_json::Value>(line).unwrap()),
            }
        }
    }
}

#[tokio::test]
async fn without_a_name_the_page_shows_the_machine_s() {
    let admin = free().await;
    let _child = Child::start(&["--admin", &admin]).await;
    let page = get(&admin, "/api/state").await;
    let (_, name) = page.split_once(r#""node":""#).unwrap();
    assert!(!name.starts_with('"'), "{page}");
    assert!(!get(&admin, "/metrics").await.contains("node="));
}

#[tokio::test]
async fn the_agent_and_readiness_turn_clients_away_before_the_proxy_does() {
    let origin = Origin::echo(V4).await;
    let (admin, agent) = (free().await, free().await);
    let args = ["--admin", &admin, "--agent", &agent, "--allow-private"];
    let child = Child::start(&[&args[..], &["--unready-time", "2"]].concat()).await;
    assert_eq!(said(&agent, "").await, "up 100%\n");
    // A balancer may say something (`agent-send`).
    assert_eq!(said(&agent, "backend socks\n").await, "up 100%\n");
    assert!(get(&admin, "/readyz").await.starts_with("HTTP/1.1 200"));

    // Who asks and stays holds nobody up.
    let agent_addr: SocketAddr = agent.parse().unwrap();
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(TcpStream::connect(agent_addr).await.unwrap());
    }
    assert_eq!(said(&agent, "").await, "up 100%\n");

    child.terminate();
    let turned = async {
        while said(&agent, "").await != "up 0%\n" {
            sleep(Duration::from_millis(5)).await;
        }
    };
    patiently("the agent", turned).await;
    assert!(get(&admin, "/readyz").await.starts_with("HTTP/1.1 503"));
    // Who comes before a balancer has looked is served.
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"still").await;
    drop(tunnel);
    assert_eq!(child.wait().await.0.code(), Some(0));
}
