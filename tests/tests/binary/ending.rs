//! Signals, and what becomes of tunnels.

use std::{io, sync::Mutex};

use rustix::process::Signal;
use socks_tests::{
    child::Child,
    client::{assert_echoes, read_to_the_end, socks5},
    descriptors,
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

/// Until connections to it are refused: it has heard the signal.
async fn wait_until_closed(child: &Child) {
    let closed = async {
        while TcpStream::connect(child.addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    patiently("the end of listening", closed).await;
}

#[tokio::test]
async fn a_signal_lets_a_live_tunnel_end_itself() {
    for (signal, runtime) in [
        (Signal::TERM, "per-thread"),
        (Signal::INT, "per-thread"),
        (Signal::TERM, "shared"),
    ] {
        let origin = Origin::echo(V4).await;
        let args = ["--allow-private", "--grace", "3600", "--runtime", runtime];
        let child = Child::start(&args).await;
        let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
        child.signal(signal);
        wait_until_closed(&child).await;
        assert_echoes(&mut tunnel, b"still here").await;
        tunnel.shutdown().await.unwrap();
        assert_eq!(read_to_the_end(&mut tunnel).await, b"");
        let (status, log) = child.wait().await;
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

/// What is cut must not look like what has ended.
async fn hears_a_reset(tunnel: &mut TcpStream) {
    let reset = patiently("a reset", tunnel.read(&mut [0])).await;
    assert_eq!(reset.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_second_signal_cuts_a_live_tunnel() {
    for runtime in ["per-thread", "shared"] {
        let (tell, told) = oneshot::channel();
        let tell = Mutex::new(Some(tell));
        let origin = Origin::serve(V4, move |mut stream| {
            let tell = tell.lock().unwrap().take().unwrap();
            async move {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                stream.write_all(&byte).await.unwrap();
                let end = stream.read(&mut byte).await;
                tell.send(end.map_err(|error| error.kind())).unwrap();
            }
        })
        .await;
        let args = ["--allow-private", "--grace", "3600", "--runtime", runtime];
        let child = Child::start(&args).await;
        let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
        child.terminate();
        wait_until_closed(&child).await;
        assert_echoes(&mut tunnel, b"!").await;
        child.signal(Signal::INT);
        hears_a_reset(&mut tunnel).await;
        let end = patiently("the origin's end", told).await.unwrap();
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
        let (status, log) = child.wait().await;
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[tokio::test]
async fn the_grace_period_ends_a_tunnel_that_does_not() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--grace", "0"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    child.terminate();
    hears_a_reset(&mut tunnel).await;
    let (status, log) = child.wait().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn the_port_is_free_again_at_once() {
    let origin = Origin::echo(V4).await;
    let first = Child::start(&["--allow-private", "--grace", "0"]).await;
    let addr = first.addr().to_string();
    // The proxy ends this one first, so that its port is left in TIME_WAIT.
    let tunnel = socks5(first.addr(), None, origin.addr()).await.unwrap();
    first.terminate();
    first.wait().await;
    let second = Child::start_as(&["--listen", &addr, "--allow-private"]).await;
    drop(tunnel);
    let mut tunnel = socks5(second.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"the second serves").await;
}

#[tokio::test]
async fn an_ended_session_leaves_no_descriptor() {
    let origin = Origin::echo(V4).await;
    // With one thread, all that is opened once is there after the first tunnel.
    let child = Child::start(&["--allow-private", "--threads", "1"]).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"warm").await;
    let busy = descriptors::of(child.pid());
    drop(tunnel);
    descriptors::settle(child.pid(), busy - 2).await;
    for _ in 0..50 {
        let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
        assert_echoes(&mut tunnel, b"again").await;
    }
    descriptors::settle(child.pid(), busy - 2).await;
}
