use tokio::time::{Instant, advance, timeout};

use super::*;

#[tokio::test(start_paused = true)]
async fn silence_ends_a_tunnel_and_every_byte_puts_the_end_off() {
    let relay = Relay::new().with_idle_timeout(60 * SECOND);
    let (mut client, mut target, tunnel) = join(&relay);
    let started = Instant::now();
    for _ in 0..5 {
        advance(50 * SECOND).await;
        client.write_all(b"up").await.unwrap();
        expect(&mut target, b"up").await;
        advance(50 * SECOND).await;
        target.write_all(b"down").await.unwrap();
        expect(&mut client, b"down").await;
    }
    let transfer = tunnel.await.unwrap();
    assert_eq!(transfer.end, End::IdleTimeout);
    assert_eq!(started.elapsed().as_secs(), 560);
    assert_eq!(transfer.duration.as_secs(), 560);
    expect_end(&mut client).await;
    expect_end(&mut target).await;
}

#[tokio::test(start_paused = true)]
async fn two_hours_and_four_minutes_are_the_default() {
    let (_client, _target, tunnel) = join(&Relay::new());
    let transfer = tunnel.await.unwrap();
    assert_eq!(transfer.end, End::IdleTimeout);
    assert_eq!(transfer.duration.as_secs(), 2 * 3600 + 4 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_tunnel_ends_sooner() {
    for client_first in [true, false] {
        let relay = Relay::new().with_half_closed_timeout(60 * SECOND);
        let (client, target, tunnel) = join(&relay);
        let (mut first, mut second) = match client_first {
            true => (client, target),
            false => (target, client),
        };
        advance(1000 * SECOND).await; // Far more, but nobody is done.
        let done = Instant::now();
        first.shutdown().await.unwrap();
        expect_end(&mut second).await;
        advance(50 * SECOND).await;
        second.write_all(b"more").await.unwrap();
        expect(&mut first, b"more").await;
        assert_eq!(tunnel.await.unwrap().end, End::HalfClosedTimeout);
        assert_eq!(done.elapsed().as_secs(), 110);
        expect_end(&mut first).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_ends_a_tunnel_that_is_busy() {
    let relay = Relay::new()
        .with_lifetime(60 * SECOND)
        .with_idle_timeout(None)
        .with_half_closed_timeout(None);
    let (mut client, mut target, tunnel) = join(&relay);
    while client.write_all(b"x").await.is_ok() {
        if target.read(&mut [0]).await.unwrap() == 0 {
            break;
        }
        advance(SECOND).await;
    }
    let transfer = tunnel.await.unwrap();
    assert_eq!(transfer.end, End::LifetimeExceeded);
    assert_eq!(transfer.duration.as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn without_timeouts_a_tunnel_stands_for_ever() {
    let relay = Relay::new()
        .with_idle_timeout(None)
        .with_half_closed_timeout(None);
    let (mut client, mut target, tunnel) = join(&relay);
    client.shutdown().await.unwrap();
    expect_end(&mut target).await;
    assert!(timeout(1_000_000 * SECOND, tunnel).await.is_err());
}
