//! A SOCKS5 proxy whose clients may each send so many datagrams a second.

use socks_tower::{
    Proxy, Rules, Socks5,
    middleware::{BandwidthLayer, DatagramRate, ObserveLayer, Observer},
};
use tokio::net::TcpStream;
use tower::ServiceBuilder;

/// Lets each client send at most `rate` datagrams in any second, a tenth of them at once, and
/// drops the rest. `observer` is told what was carried, and what was dropped.
pub fn proxy(rate: u64, rules: Rules, observer: impl Observer) -> impl Proxy<TcpStream> {
    // In less than a second there pass a burst and less than a second's worth.
    let burst = (rate / 10).max(1).min(rate);
    let sent = DatagramRate::per_second((rate + 1 - burst).min(rate))
        .with_burst(burst)
        .with_down(None);
    ServiceBuilder::new()
        .layer(ObserveLayer::new(observer))
        .layer(BandwidthLayer::per_client(sent))
        .service(Socks5::new().with_rules(rules).with_udp())
}
