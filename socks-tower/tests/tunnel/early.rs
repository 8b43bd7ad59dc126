//! What comes with the request, and before anybody asks for it.

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::{
    proxy::Proxy,
    speaks::Speaks,
    streams::{accept, all_of, hears, noise, target},
};

/// Each version's client, which has sent its request and `rest` at once.
async fn clients(proxy: &Proxy, rest: &[u8]) -> Vec<(Speaks, TcpStream, TcpListener)> {
    let mut clients = Vec::new();
    for speaks in Speaks::ALL {
        let target = target().await;
        let mut client = proxy.client().await;
        let words = speaks.connect(target.local_addr().unwrap());
        client.write_all(&[&words, rest].concat()).await.unwrap();
        clients.push((speaks, client, target));
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_in_the_segment_of_the_request_reach_the_target() {
    let proxy = Proxy::new().await;
    for (speaks, mut client, target) in clients(&proxy, b"early").await {
        let mut target = accept(&target).await;
        hears(&mut target, b"early").await;
        speaks.hears_that_it_is_granted(&mut client).await;
        client.write_all(b"late").await.unwrap();
        hears(&mut target, b"late").await;
        target.write_all(b"answer").await.unwrap();
        hears(&mut client, b"answer").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_come_byte_by_byte() {
    let proxy = Proxy::new().await;
    for speaks in Speaks::ALL {
        let target = target().await;
        let mut client = proxy.client().await;
        client.set_nodelay(true).unwrap();
        let words = speaks.connect(target.local_addr().unwrap());
        for byte in words.iter().chain(b"early") {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        hears(&mut accept(&target).await, b"early").await;
        speaks.hears_that_it_is_granted(&mut client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_more_than_is_kept_of_early_bytes_arrives_whole_and_in_order() {
    let proxy = Proxy::new().await;
    let much = noise(300_000);
    for (speaks, mut client, target) in clients(&proxy, &much).await {
        let mut target = accept(&target).await;
        hears(&mut target, &much).await;
        speaks.hears_that_it_is_granted(&mut client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_speaks_first_is_heard() {
    let proxy = Proxy::new().await;
    for (speaks, mut client, target) in clients(&proxy, b"").await {
        let mut target = accept(&target).await;
        target.write_all(b"220 ready").await.unwrap();
        speaks.hears_that_it_is_granted(&mut client).await;
        hears(&mut client, b"220 ready").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_only_speaks_and_closes_is_heard_to_the_end() {
    let proxy = Proxy::new().await;
    let much = noise(200_000);
    for (speaks, mut client, target) in clients(&proxy, b"").await {
        let mut target = accept(&target).await;
        target.write_all(&much).await.unwrap();
        drop(target);
        speaks.hears_that_it_is_granted(&mut client).await;
        assert!(all_of(&mut client).await == much, "{speaks:?}");
    }
}
