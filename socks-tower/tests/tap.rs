//! Taps, in tunnels between real sockets.

#![expect(clippy::unwrap_used, reason = "a test")]

#[cfg(all(target_os = "linux", feature = "splice"))]
mod pipes;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use socks_tower::{
    Command, ConnectLayer, Direction, End, Error, Inbound, Look, Relay, Request, Requested,
    Session, Stream, Target, Transfer, Version,
    middleware::tap::{Gather, Opening, TapLayer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::JoinHandle,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// A granted session between `client` and `upstream`, which `early` was sent in.
fn session<Io: Stream, Up: Stream>(
    tap: &TapLayer,
    client: Io,
    early: &[u8],
    upstream: Up,
) -> JoinHandle<Result<Transfer, Error>> {
    let upstream = Arc::new(Mutex::new(Some(upstream)));
    let connector = service_fn(move |_: Request| {
        let upstream = upstream.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(upstream) }
    });
    let stack = ServiceBuilder::new()
        .layer(tap.clone())
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    let requested = Requested::new(
        Inbound::new(client, early.to_vec(), Version::Socks5),
        Request::new(Session::new(), Command::CONNECT, Target::UNSPECIFIED),
    );
    tokio::spawn(stack.oneshot(requested))
}

/// Ends sessions that ask for a name within `denied`, and notes what all ask for.
fn by_name(denied: &'static str) -> (TapLayer, Arc<Mutex<Vec<Opening>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&notes);
    let tap = TapLayer::new(move |_: &Request| {
        let note = Arc::clone(&note);
        Some(Gather::new(Direction::Up, Opening::MOST, move |bytes| {
            let Some(opening) = Opening::of(bytes) else {
                return Look::More;
            };
            note.lock().unwrap().push(opening.clone());
            match opening {
                Opening::Tls {
                    server_name: Some(name),
                    ..
                } if name.is_within(denied) => Look::End,
                _ => Look::Enough,
            }
        }))
    });
    (tap, notes)
}

/// What a TLS client says first that wants `name`.
fn client_hello(name: &'static str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client =
        rustls::ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn a_session_is_ended_by_its_tls_name_before_the_target_hears_a_byte() {
    let hello = client_hello("www.denied.example");
    for early in [true, false] {
        let (tap, notes) = by_name("denied.example");
        let (mut client, near) = duplex(64 * 1024);
        let (far, mut target) = duplex(64 * 1024);
        let ended = session(&tap, near, if early { &hello } else { b"" }, far);
        client.read_exact(&mut [0; 10]).await.unwrap();
        if !early {
            client.write_all(&hello).await.unwrap();
        }
        let mut heard = Vec::new();
        target.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        let transfer = ended.await.unwrap().unwrap();
        assert_eq!((transfer.end, transfer.up), (End::EndedByTap, 0));
        assert_eq!(notes.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_hello_that_comes_byte_by_byte_is_not_heard_whole() {
    let hello = client_hello("www.denied.example");
    let (tap, _) = by_name("denied.example");
    let (mut client, near) = duplex(1);
    let (far, mut target) = duplex(64 * 1024);
    let ended = session(&tap, near, b"", far);
    client.read_exact(&mut [0; 10]).await.unwrap();
    for byte in &hello {
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    let mut heard = Vec::new();
    target.read_to_end(&mut heard).await.unwrap();
    let name = b"www.denied.example";
    assert!(!heard.windows(name.len()).any(|window| window == name));
    assert!(heard.len() < hello.len() && hello.starts_with(&heard));
    assert_eq!(ended.await.unwrap().unwrap().end, End::EndedByTap);
}

#[tokio::test]
async fn other_names_pass_and_are_told() {
    let (tap, notes) = by_name("denied.example");
    for first in [
        client_hello("granted.example"),
        b"GET / HTTP/1.1\r\nHost: granted.example\r\n\r\n".to_vec(),
        b"EHLO granted.example\r\n".to_vec(),
    ] {
        let (mut client, near) = duplex(64 * 1024);
        let (far, mut target) = duplex(64 * 1024);
        let ended = session(&tap, near, b"", far);
        client.read_exact(&mut [0; 10]).await.unwrap();
        client.write_all(&first).await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        target.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, first);
        drop((client, target));
        assert_eq!(ended.await.unwrap().unwrap().end, End::Closed);
    }
    let notes: Vec<_> = notes.lock().unwrap().drain(..).collect();
    let [
        Opening::Tls {
            server_name: Some(name),
            ..
        },
        Opening::Http {
            host: Some(host), ..
        },
        Opening::Other,
    ] = &notes[..]
    else {
        panic!("{notes:?}");
    };
    assert_eq!(name.as_str(), "granted.example");
    assert_eq!(host.to_string(), "granted.example");
}

/// Carries 8 MB down; says whether a pipe was used. The
/// thread's pool keeps it.
#[cfg(all(target_os = "linux", feature = "splice"))]
async fn splices_under(tap: &TapLayer) -> bool {
    use pipes::{pair, pipe_ends};

    let before = pipe_ends();
    let ((mut client, near), (mut target, far)) = tokio::join!(pair(), pair());
    let session = session(tap, near, b"", far);
    client.read_exact(&mut [0; 10]).await.unwrap();
    let sent: Vec<u8> = (0..=250).cycle().take(8_000_000).collect();
    let receiving = async {
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        drop(client);
        received
    };
    let sending = async {
        target.write_all(&sent).await.unwrap();
        target.shutdown().await.unwrap();
        target.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let (received, ()) = tokio::join!(receiving, sending);
    assert!(received == sent, "{} bytes differ", received.len());
    let transfer = session.await.unwrap().unwrap();
    assert_eq!(transfer.down, 8_000_000);
    pipe_ends() > before
}

#[cfg(all(target_os = "linux", feature = "splice"))]
#[tokio::test]
async fn bulk_is_spliced_behind_a_tap_and_copied_while_it_looks() {
    let tap = |most| {
        TapLayer::new(move |_: &Request| {
            let mut seen = 0;
            Some(Gather::new(Direction::Down, most, move |bytes| {
                assert!(bytes.len() > seen);
                seen = bytes.len();
                Look::More
            }))
        })
    };
    assert!(!splices_under(&tap(usize::MAX)).await);
    assert!(splices_under(&tap(100_000)).await);
}
