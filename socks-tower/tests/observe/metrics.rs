//! What the metrics say, whatever becomes of sessions.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit, set_default_local_recorder,
};
use socks_tower::middleware::{MetricsLayer, ObserveLayer, Sessions};
use tokio::io::AsyncWriteExt;
use tower::ServiceBuilder;

use crate::{
    proxy::{Keep, Proxy, Way, all_of, hears, listen, stack, tunnel},
    udp::associate,
};

/// Keeps all series of this thread, by name and labels.
#[derive(Clone, Default)]
struct Series(Arc<Mutex<BTreeMap<String, f64>>>);

struct One {
    all: Series,
    name: String,
}

impl One {
    fn add(&self, value: f64) {
        *self.all.0.lock().unwrap().get_mut(&self.name).unwrap() += value;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {
        panic!("nobody sets a counter");
    }
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        panic!("nobody sets a gauge");
    }
}

impl HistogramFn for One {
    /// Counts, so that time is no part of the test.
    fn record(&self, value: f64) {
        assert!((0.0..20.0).contains(&value), "{value}");
        self.add(1.0);
    }
}

impl Series {
    fn one(&self, key: &Key) -> Arc<One> {
        let labels = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        let name = format!("{}{{{labels}}}", key.name());
        self.0.lock().unwrap().entry(name.clone()).or_default();
        let all = self.clone();
        Arc::new(One { all, name })
    }

    /// The series of `name` that are not 0.
    fn of(&self, name: &str) -> Vec<(String, f64)> {
        let all = self.0.lock().unwrap();
        let prefix = format!("{name}{{");
        let of_name = all.iter().filter(|(series, _)| series.starts_with(&prefix));
        let not_zero = of_name.filter(|(_, value)| **value != 0.0);
        let labels = |series: &str| series[prefix.len()..].trim_end_matches('}').to_owned();
        not_zero
            .map(|(series, value)| (labels(series), *value))
            .collect()
    }

    fn sum(&self, name: &str) -> f64 {
        self.of(name).iter().map(|(_, value)| value).sum()
    }

    fn has(&self, name: &str, expected: &[(&str, f64)]) {
        let found = self.of(name);
        let found: Vec<_> = found
            .iter()
            .map(|(labels, value)| (labels.as_str(), *value))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

impl Recorder for Series {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

/// A proxy whose sessions are counted by the recorder of this thread.
async fn counting() -> Proxy {
    let (keep, told) = Keep::new();
    let sessions = Sessions::new();
    let stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(keep))
        .layer(MetricsLayer::new())
        .service(stack(&sessions));
    Proxy::serve(stack, sessions, told).await
}

#[tokio::test]
async fn sessions_are_counted_by_version_command_and_outcome() {
    let series = Series::default();
    let _guard = set_default_local_recorder(&series);
    let (target, addr) = listen().await;
    let mut proxy = counting().await;
    for way in Way::all(addr) {
        let (client, mut far) = tunnel(&proxy, &way, &target).await;
        drop(client);
        all_of(&mut far).await;
        drop(far);
        proxy.told().await;
    }
    for words in [
        &b"\x16\x03\x01"[..],
        b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50",
        b"\x05\x01\x00\x05\x99\x00\x01\xc0\x00\x02\x07\x00\x50",
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x00panic.test\x00",
        b"\x05\x01\x00\x05\xf0\x00\x03\x09some.test\x00\x00",
    ] {
        let mut client = proxy.client(words).await;
        client.shutdown().await.unwrap();
        all_of(&mut client).await;
        proxy.told().await;
    }
    let _cut = tunnel(&proxy, &Way::all(addr)[2], &target).await;
    proxy.stop().await;

    series.has(
        "socks_sessions_total",
        &[
            ("version=4,command=connect,outcome=done", 1.0),
            ("version=4a,command=connect,outcome=done", 1.0),
            ("version=4a,command=connect,outcome=panicked", 1.0),
            ("version=5,command=connect,outcome=cut", 1.0),
            ("version=5,command=connect,outcome=done", 2.0),
            ("version=5,command=connect,outcome=failed", 1.0),
            ("version=5,command=other,outcome=failed", 1.0),
            ("version=5,command=resolve,outcome=done", 1.0),
            ("version=http,command=connect,outcome=done", 1.0),
            ("version=none,command=none,outcome=failed", 1.0),
        ],
    );
    series.has(
        "socks_refusals_total",
        &[
            ("reason=command", 1.0),
            ("reason=denied", 1.0),
            ("reason=panicked", 1.0),
            ("reason=protocol", 1.0),
        ],
    );
    let tunnels = series.of("socks_tunnels_total");
    assert_eq!(series.sum("socks_tunnels_total"), 6.0, "{tunnels:?}");
    assert!(tunnels.contains(&("end=cut".to_owned(), 1.0)));
    series.has("socks_live_sessions", &[]);
    series.has("socks_live_tunnels", &[]);
    series.has(
        "socks_bytes_total",
        &[("direction=down", 42.0), ("direction=up", 30.0)],
    );
}

#[tokio::test]
async fn what_lives_and_what_it_carries_is_counted_as_it_goes() {
    let series = Series::default();
    let _guard = set_default_local_recorder(&series);
    let (target, addr) = listen().await;
    let mut proxy = counting().await;
    let mut waiting = proxy.client(b"\x05\x01\x00").await;
    hears(&mut waiting, 2).await;
    let (mut client, mut far) = tunnel(&proxy, &Way::all(addr)[0], &target).await;

    series.has("socks_live_sessions", &[("", 2.0)]);
    series.has("socks_live_tunnels", &[("", 1.0)]);
    let bytes = |up, down| [("direction=down", down), ("direction=up", up)];
    series.has("socks_bytes_total", &bytes(5.0, 7.0));
    client.write_all(&[7; 1000]).await.unwrap();
    hears(&mut far, 1000).await;
    series.has("socks_bytes_total", &bytes(1005.0, 7.0));

    drop((client, far));
    proxy.told().await;
    series.has("socks_live_sessions", &[("", 1.0)]);
    series.has("socks_live_tunnels", &[]);
}

#[tokio::test]
async fn stages_are_timed_apart() {
    let series = Series::default();
    let _guard = set_default_local_recorder(&series);
    let mut proxy = counting().await;
    for words in [
        // Denied; a name that nobody listens at; garbage.
        &b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"[..],
        b"\x05\x01\x00\x05\x01\x00\x03\x09some.test\x00\x01",
        b"\x16",
    ] {
        let mut client = proxy.client(words).await;
        client.shutdown().await.unwrap();
        all_of(&mut client).await;
        proxy.told().await;
    }

    series.has(
        "socks_stage_duration_seconds",
        &[
            ("stage=authenticate,result=done", 2.0),
            ("stage=authorize,result=done", 1.0),
            ("stage=authorize,result=failed", 1.0),
            ("stage=connect,result=failed", 2.0),
            ("stage=handshake,result=done", 2.0),
            ("stage=handshake,result=failed", 1.0),
            ("stage=resolve,result=done", 1.0),
        ],
    );
}

#[tokio::test]
async fn datagrams_are_counted_as_they_go_with_what_was_dropped() {
    let series = Series::default();
    let _guard = set_default_local_recorder(&series);
    let mut proxy = counting().await;
    let (control, _client) = associate(&proxy).await;

    has_datagrams(&series);
    series.has("socks_tunnels_total", &[]);
    drop(control);
    proxy.told().await;
    has_datagrams(&series);
    series.has("socks_tunnels_total", &[("end=closed", 1.0)]);
}

fn has_datagrams(series: &Series) {
    let each = [("direction=down", 1.0), ("direction=up", 1.0)];
    series.has("socks_datagrams_total", &each);
    series.has(
        "socks_datagrams_dropped_total",
        &[("reason=malformed", 1.0)],
    );
    series.has(
        "socks_bytes_total",
        &[("direction=down", 5.0), ("direction=up", 5.0)],
    );
}

#[tokio::test]
async fn no_label_has_what_a_client_says() {
    let series = Series::default();
    let _guard = set_default_local_recorder(&series);
    let (target, addr) = listen().await;
    let mut proxy = counting().await;
    for way in Way::all(addr) {
        drop(tunnel(&proxy, &way, &target).await);
        proxy.told().await;
    }
    for (name, _) in series.0.lock().unwrap().iter() {
        for word in [
            "joe",
            "ann",
            "127.0.0.1",
            "target",
            &addr.port().to_string(),
        ] {
            assert!(!name.contains(word), "{name}");
        }
    }
}
