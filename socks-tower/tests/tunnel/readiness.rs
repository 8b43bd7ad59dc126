//! A stack that is not ready leaves newcomers in the kernel's queue.

use std::time::Duration;

use socks_tower::TcpConnector;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};
use tower::ServiceBuilder;

use crate::{
    proxy::{Proxy, socks},
    speaks::Speaks,
    streams::{accept, hears, patiently, target},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stack_serves_the_second_client_once_the_first_is_done() {
    let stack = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(socks(TcpConnector::new()));
    let proxy = Proxy::of(stack).await;
    let first = proxy.tunnel(Speaks::V5).await;

    let listener = target().await;
    let mut second = proxy.client().await;
    let words = Speaks::V5.connect(listener.local_addr().unwrap());
    second.write_all(&words).await.unwrap();
    let early = timeout(Duration::from_millis(300), second.read_u8()).await;
    early.expect_err("served beside the first");

    drop(first);
    let mut target = accept(&listener).await;
    Speaks::V5.hears_that_it_is_granted(&mut second).await;
    second.write_all(b"served").await.unwrap();
    hears(&mut target, b"served").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_up_in_the_queue_costs_a_full_stack_nothing() {
    let stack = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(socks(TcpConnector::new()));
    let proxy = Proxy::of(stack).await;
    let first = proxy.tunnel(Speaks::V5).await;
    for _ in 0..20 {
        crate::streams::reset(proxy.client().await);
        drop(proxy.client().await);
    }
    drop(first);
    patiently("service", proxy.tunnel(Speaks::V5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_outermost_spaces_sessions_and_serves_them_all() {
    let period = Duration::from_millis(300);
    let stack = ServiceBuilder::new()
        .rate_limit(2, period)
        .service(socks(TcpConnector::new()));
    let began = Instant::now();
    let proxy = Proxy::of(stack).await;
    for _ in 0..5 {
        proxy.tunnel(Speaks::V5).await;
    }
    assert!(began.elapsed() >= 2 * period);
}
