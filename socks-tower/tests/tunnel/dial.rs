//! What a client does while its target is dialled.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use socks_tower::{Connector, Pinned, Request, TcpConnector};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
};
use tower::{Service, service_fn};

use crate::{
    proxy::{Proxy, socks},
    speaks::Speaks,
    streams::{accept, all_of, clog, noise, patiently, reset, target},
};

/// Says what becomes of a dial.
#[derive(Debug, PartialEq, Eq)]
enum Dial {
    Begun,
    Dropped,
}

struct Guard(mpsc::UnboundedSender<Dial>);

impl Guard {
    fn new(tell: mpsc::UnboundedSender<Dial>) -> Self {
        tell.send(Dial::Begun).unwrap();
        Self(tell)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.0.send(Dial::Dropped);
    }
}

/// Dials for ever, and tells when it begins and when it is dropped.
fn endless() -> (
    impl Connector<Request<Pinned>, Io = TcpStream> + Sync,
    mpsc::UnboundedReceiver<Dial>,
) {
    let (tell, told) = mpsc::unbounded_channel();
    let connector = service_fn(move |_: Request<Pinned>| {
        let guard = Guard::new(tell.clone());
        async move {
            let _guard = guard;
            pending::<Result<TcpStream, Infallible>>().await
        }
    });
    (connector, told)
}

async fn next(told: &mut mpsc::UnboundedReceiver<Dial>) -> Dial {
    patiently("the dial", told.recv()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_ends_the_dial() {
    let (connector, mut told) = endless();
    let proxy = Proxy::of(socks(connector)).await;
    for speaks in Speaks::ALL {
        let mut client = proxy.client().await;
        let words = speaks.connect("127.0.0.1:1".parse().unwrap());
        client.write_all(&words).await.unwrap();
        assert_eq!(next(&mut told).await, Dial::Begun);
        reset(client);
        assert_eq!(next(&mut told).await, Dial::Dropped, "{speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_ends_the_dial_though_nothing_more_is_read_from_it() {
    let (connector, mut told) = endless();
    let proxy = Proxy::of(socks(connector)).await;
    for speaks in Speaks::ALL {
        let mut client = proxy.client().await;
        let words = speaks.connect("127.0.0.1:1".parse().unwrap());
        client.write_all(&words).await.unwrap();
        assert_eq!(next(&mut told).await, Dial::Begun);
        clog(&mut client).await;
        reset(client);
        assert_eq!(next(&mut told).await, Dial::Dropped, "{speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_after_its_fin_ends_the_dial() {
    let (connector, mut told) = endless();
    let proxy = Proxy::of(socks(connector)).await;
    for early in [&b""[..], b"early"] {
        for speaks in Speaks::ALL {
            let mut client = proxy.client().await;
            let words = speaks.connect("127.0.0.1:1".parse().unwrap());
            client.write_all(&[&words, early].concat()).await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(next(&mut told).await, Dial::Begun);
            reset(client);
            assert_eq!(next(&mut told).await, Dial::Dropped, "{speaks:?}");
        }
    }
}

/// A dial that is slow, so that what the client does meanwhile is seen during
/// it. If it is not, the outcome is the same.
const A_WHILE: Duration = Duration::from_millis(50);

/// Dials when there is a permit for it, and tells when it is asked to.
fn on_permit(
    permits: &Arc<Semaphore>,
) -> (
    impl Connector<Request<Pinned>, Io = TcpStream> + Sync,
    mpsc::UnboundedReceiver<Dial>,
) {
    let (tell, told) = mpsc::unbounded_channel();
    let permits = Arc::clone(permits);
    let connector = service_fn(move |request: Request<Pinned>| {
        let permits = Arc::clone(&permits);
        tell.send(Dial::Begun).unwrap();
        async move {
            permits.acquire().await.unwrap().forget();
            TcpConnector::new().call(request).await
        }
    });
    (connector, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fin_during_the_dial_is_passed_on_and_the_response_comes_back() {
    let permits = Arc::new(Semaphore::new(0));
    let (connector, mut told) = on_permit(&permits);
    let proxy = Proxy::of(socks(connector)).await;
    for speaks in Speaks::ALL {
        let listener = target().await;
        let mut client = proxy.client().await;
        let words = speaks.connect(listener.local_addr().unwrap());
        client.write_all(&words).await.unwrap();
        assert_eq!(next(&mut told).await, Dial::Begun);
        client.write_all(b"said meanwhile").await.unwrap();
        client.shutdown().await.unwrap();
        tokio::time::sleep(A_WHILE).await;
        permits.add_permits(1);
        let mut target = accept(&listener).await;
        assert_eq!(all_of(&mut target).await, b"said meanwhile");
        target.write_all(b"response").await.unwrap();
        drop(target);
        speaks.hears_that_it_is_granted(&mut client).await;
        assert_eq!(all_of(&mut client).await, b"response");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_reset_by_its_own_haste_costs_others_nothing() {
    let (connector, mut told) = endless();
    let proxy = Proxy::of(socks(connector)).await;
    let mut patient = proxy.client().await;
    let words = Speaks::V5.connect("127.0.0.1:1".parse().unwrap());
    patient.write_all(&words).await.unwrap();
    assert_eq!(next(&mut told).await, Dial::Begun);
    for _ in 0..20 {
        let mut hasty = proxy.client().await;
        hasty.write_all(&words).await.unwrap();
        assert_eq!(next(&mut told).await, Dial::Begun);
        reset(hasty);
        assert_eq!(next(&mut told).await, Dial::Dropped);
    }
    // The patient one's dial goes on.
    told.try_recv().unwrap_err();
    drop(patient);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_fails_late_is_reported_whole_to_who_has_sent_much() {
    let permits = Arc::new(Semaphore::new(0));
    let (connector, mut told) = on_permit(&permits);
    let proxy = Proxy::of(socks(connector)).await;
    // Bound, so that nobody else is given the port; not listening.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    for speaks in Speaks::ALL {
        let mut client = proxy.client().await;
        let words = speaks.connect(closed.local_addr().unwrap());
        client.write_all(&words).await.unwrap();
        assert_eq!(next(&mut told).await, Dial::Begun);
        client.write_all(&noise(32 * 1024)).await.unwrap();
        tokio::time::sleep(A_WHILE).await;
        permits.add_permits(1);
        assert_eq!(all_of(&mut client).await, speaks.refusal(5), "{speaks:?}");
    }
}
