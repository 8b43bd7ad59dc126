//! The list of the sessions of two nodes.

use std::convert::Infallible;

use socks_tests::{redis::RedisServer, wire::Wire};
use socks_tower::{
    Command, ConnectLayer, Error, ErrorKind, Identity, Inbound, Relay, Request, Requested, Session,
    Target, Transfer, Version,
    middleware::{
        Redis, RegisterLayer, Sessions,
        redis::{FleetSessions, NodeSessions},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::{until, until_up};

struct Node {
    redis: Redis,
    sessions: Sessions,
    fleet: FleetSessions,
}

type Ended = JoinHandle<Result<Transfer, Error>>;

impl Node {
    async fn at(url: &str, name: &str) -> Self {
        let redis = Redis::open(url).unwrap().with_node(name);
        let sessions = Sessions::new();
        let fleet = FleetSessions::new(&redis, sessions.clone());
        redis.connect().await;
        Self {
            redis,
            sessions,
            fleet,
        }
    }

    async fn begins(&self, who: &str, target: &str) -> (DuplexStream, Ended) {
        let connector = service_fn(|_: Request| async {
            let (near, far) = duplex(64);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(far);
                tokio::io::copy(&mut read, &mut write).await
            });
            Ok::<_, Infallible>(near)
        });
        let stack = ServiceBuilder::new()
            .layer(RegisterLayer::new(self.sessions.clone()))
            .layer(ConnectLayer::new(connector))
            .service(Relay::new());
        let session = Session::new()
            .with_client_addr("192.0.2.1:4000".parse().unwrap())
            .with_identity(Identity::new(who));
        let request = Request::new(session, Command::CONNECT, target.parse::<Target>().unwrap());
        let (client, io) = duplex(64);
        let inbound = Inbound::new(io, Vec::new(), Version::Socks5);
        (
            client,
            tokio::spawn(stack.oneshot(Requested::new(inbound, request))),
        )
    }

    /// The lists, once they are so.
    async fn lists(&self, are_so: impl Fn(&[NodeSessions]) -> bool) -> Vec<NodeSessions> {
        let mut lists = Vec::new();
        until("the lists", async || {
            lists = self.fleet.list().await.unwrap_or_default();
            lists.sort_by(|a, b| a.node.cmp(&b.node));
            are_so(&lists)
        })
        .await;
        lists
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_node_lists_those_of_all_and_ends_one_of_another_and_the_dead_lapse() {
    let server = RedisServer::start().await;
    let wire = Wire::to(server.addr()).await;
    let a = Node::at(&server.url(), "a").await;
    let b = Node::at(&format!("redis://{}", wire.addr()), "b").await;
    let hostile = "joe\"}\n1 2 3 \0\u{1b}[31m{\"a\":1}\r\n";
    let (_one, _) = a.begins("ann", "a.example:1").await;
    let (mut two, ended) = b.begins(hostile, "b.example:2").await;
    let (_three, stays) = b.begins("jim", "[2001:db8::1]:3").await;
    two.read_exact(&mut [0; 10]).await.unwrap();
    two.write_all(b"hello").await.unwrap();
    two.read_exact(&mut [0; 5]).await.unwrap();

    let lists = a
        .lists(|lists| lists.len() == 2 && lists[1].total == 2)
        .await;
    assert!(lists[0].node.starts_with("a-") && lists[1].node.starts_with("b-"));
    assert_eq!(lists[0].sessions[0].identity, Some("ann".into()));
    let found = &lists[1].sessions[0];
    assert_eq!(found.identity, Some(hostile.into()));
    assert_eq!(found.target.to_string(), "b.example:2");
    assert_eq!(found.client_addr, Some("192.0.2.1:4000".parse().unwrap()));
    for key in server.ask(&["keys", "*"]).await.lines() {
        let ttl: i64 = server.ask(&["pttl", key]).await.parse().unwrap();
        assert!(ttl > 0, "{key}");
    }

    assert!(a.fleet.end(&lists[1].node, found.id).await.unwrap());
    assert_eq!(ended.await.unwrap().unwrap_err().kind(), ErrorKind::Ended);
    assert!(!stays.is_finished());
    assert!(!a.fleet.end("nobody", found.id).await.unwrap());
    a.lists(|lists| lists[1].total == 1).await;

    wire.cut();
    until_up(&b.redis, false).await;
    a.lists(|lists| lists.len() == 1).await;
    wire.mend();
    a.lists(|lists| lists.len() == 2).await;
    b.redis.close().await;
    a.lists(|lists| lists.len() == 1).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn of_ten_thousand_sessions_the_oldest_thousand_are_listed() {
    let server = RedisServer::start().await;
    let node = Node::at(&server.url(), "a").await;
    let mut live = Vec::new();
    for number in 0..10_000 {
        live.push(node.begins(&format!("user{number}"), "a.example:1").await);
    }
    let all = |lists: &[NodeSessions]| lists.first().is_some_and(|list| list.total == 10_000);
    let lists = node.lists(all).await;
    assert_eq!(lists[0].sessions.len(), 1000);
    let key = server.ask(&["keys", "{socks}:sessions:*"]).await;
    let len: usize = server.ask(&["strlen", &key]).await.parse().unwrap();
    println!("{len} bytes for 1,000 sessions");
    assert!(len < 200_000);
}
