//! How tunnels end: each side's FIN and RST comes through as what it is.

use std::{io, sync::Arc, time::Duration};

use socks_tower::{Accepted, Direction, Grant, HasSession, Relay, TcpConnector, Throttle};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
    time::Instant,
};
use tower::ServiceBuilder;

use crate::{
    proxy::{Proxy, socks},
    speaks::Speaks,
    streams::{accept, all_and_how, all_of, clog, hears, noise, patiently, reset, target},
};

const RESET: Option<io::ErrorKind> = Some(io::ErrorKind::ConnectionReset);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_done_still_gets_its_response() {
    let proxy = Proxy::new().await;
    for speaks in Speaks::ALL {
        let (mut client, mut target) = proxy.tunnel(speaks).await;
        client.write_all(b"request").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(all_of(&mut target).await, b"request");
        let response = noise(1_000_000);
        let sending = async {
            target.write_all(&response).await.unwrap();
            drop(target);
        };
        let ((), found) = tokio::join!(sending, all_of(&mut client));
        assert!(found == response, "{speaks:?}: {} bytes", found.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_done_with_its_first_segment_still_gets_its_response() {
    let proxy = Proxy::new().await;
    for speaks in Speaks::ALL {
        let listener = target().await;
        let mut client = proxy.client().await;
        let words = speaks.connect(listener.local_addr().unwrap());
        client
            .write_all(&[&words, &b"all"[..]].concat())
            .await
            .unwrap();
        client.shutdown().await.unwrap();
        let mut target = accept(&listener).await;
        assert_eq!(all_of(&mut target).await, b"all");
        target.write_all(b"response").await.unwrap();
        drop(target);
        speaks.hears_that_it_is_granted(&mut client).await;
        assert_eq!(all_of(&mut client).await, b"response");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_done_still_gets_what_the_client_sends() {
    let proxy = Proxy::new().await;
    for speaks in Speaks::ALL {
        let (mut client, mut target) = proxy.tunnel(speaks).await;
        target.write_all(b"enough").await.unwrap();
        target.shutdown().await.unwrap();
        assert_eq!(all_of(&mut client).await, b"enough");
        let upload = noise(1_000_000);
        let sending = async {
            client.write_all(&upload).await.unwrap();
            drop(client);
        };
        let ((), found) = tokio::join!(sending, all_of(&mut target));
        assert!(found == upload, "{speaks:?}: {} bytes", found.len());
    }
}

/// The two ends of a tunnel: the one that breaks first, and the other.
async fn ends(proxy: &Proxy, client_breaks: bool) -> (TcpStream, TcpStream) {
    let (client, target) = proxy.tunnel(Speaks::V5).await;
    match client_breaks {
        true => (client, target),
        false => (target, client),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_an_idle_tunnel_is_a_reset_on_the_other_side() {
    let proxy = Proxy::new().await;
    for client_breaks in [true, false] {
        let (breaks, mut survives) = ends(&proxy, client_breaks).await;
        reset(breaks);
        assert_eq!(all_and_how(&mut survives).await, (vec![], RESET));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_reset_arrives_before_it() {
    let proxy = Proxy::new().await;
    let words = noise(48_000);
    for client_breaks in [true, false] {
        let (mut breaks, mut survives) = ends(&proxy, client_breaks).await;
        breaks.write_all(&words).await.unwrap();
        reset(breaks);
        let (found, how) = all_and_how(&mut survives).await;
        assert_eq!((found.len(), how), (words.len(), RESET));
        assert!(found == words);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_after_a_fin_is_a_reset_for_who_still_sends() {
    let proxy = Proxy::new().await;
    for client_breaks in [true, false] {
        let (mut breaks, mut survives) = ends(&proxy, client_breaks).await;
        breaks.shutdown().await.unwrap();
        assert_eq!(all_of(&mut survives).await, b"");
        reset(breaks);
        patiently("a failing write", async {
            while survives.write_all(b"for nobody").await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_that_vanishes_amid_a_stalled_transfer_fails_the_other_s_writes() {
    let proxy = Proxy::new().await;
    for client_breaks in [true, false] {
        let (mut breaks, mut survives) = ends(&proxy, client_breaks).await;
        // The other side does not read.
        clog(&mut breaks).await;
        reset(breaks);
        // It does not read now either: its writes must come to fail.
        patiently("a failing write", async {
            while survives.write_all(b"for nobody").await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Nothing is read from a side behind which a transfer stalls, so its reset is
/// found by looking for it, and not when the tunnel's timer fires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_behind_a_stalled_transfer_is_found_by_looking_for_it() {
    let timeless = Relay::new()
        .with_idle_timeout(None)
        .with_half_closed_timeout(None);
    for relay in [Relay::new(), timeless] {
        let proxy = Proxy::of(socks(TcpConnector::new()).with_relay(relay)).await;
        for client_breaks in [true, false] {
            let (mut breaks, survives) = ends(&proxy, client_breaks).await;
            clog(&mut breaks).await;
            reset(breaks);
            // It neither reads nor writes.
            let ready = patiently("a reset", survives.ready(Interest::ERROR)).await;
            assert!(ready.unwrap().is_error());
        }
    }
}

/// One that is held back is not read from either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_behind_a_throttle_is_found_too() {
    let throttle = Arc::new(Never);
    let held_back = move |mut accepted: Accepted<TcpStream>| {
        let session = accepted.session_mut();
        session.policy.add_throttle(Arc::clone(&throttle));
        accepted
    };
    let stack = ServiceBuilder::new()
        .map_request(held_back)
        .service(socks(TcpConnector::new()));
    let proxy = Proxy::of(stack).await;
    for client_breaks in [true, false] {
        let (mut breaks, survives) = ends(&proxy, client_breaks).await;
        breaks.write_all(b"may not pass").await.unwrap();
        reset(breaks);
        let ready = patiently("a reset", survives.ready(Interest::ERROR)).await;
        assert!(ready.unwrap().is_error());
    }
}

/// Grants nothing within a test's patience.
struct Never;

impl Throttle for Never {
    fn take(&self, _: Direction, _: u64) -> Grant {
        Grant::Wait(Instant::now() + Duration::from_secs(3600))
    }

    fn give_back(&self, _: Direction, _: u64) {}
}

/// The client's socket has it from the listener that no urgent byte is lost.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_urgent_byte_arrives_in_its_place_either_way() {
    let proxy = Proxy::new().await;
    for client_sends in [true, false] {
        let (mut sends, mut receives) = ends(&proxy, client_sends).await;
        sends.write_all(b"ab").await.unwrap();
        let urgent = socket2::SockRef::from(&sends).send_out_of_band(b"!");
        assert_eq!(urgent.unwrap(), 1);
        sends.write_all(b"cd").await.unwrap();
        hears(&mut receives, b"ab!cd").await;
    }
}
