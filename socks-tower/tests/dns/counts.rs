//! What is counted by the `metrics` facade.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

use crate::{
    proxy::look_up,
    server::{Server, resolver, v4},
};

/// Counts by name and result.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

struct One {
    all: Counts,
    name: String,
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        *self
            .all
            .0
            .lock()
            .unwrap()
            .entry(self.name.clone())
            .or_default() += value;
    }

    fn absolute(&self, _: u64) {
        unreachable!("nothing is counted so");
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let result = key.labels().map(|label| label.value()).collect::<String>();
        Counter::from_arc(Arc::new(One {
            all: self.clone(),
            name: format!("{} {result}", key.name()),
        }))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn questions_and_what_the_cache_is_asked_are_counted() {
    let counts = Counts::default();
    let server = Server::start(v4([11, 0, 0, 1])).await;
    let resolver = with_local_recorder(&counts, || resolver(&[&server]));
    for _ in 0..3 {
        look_up(&resolver, "db.example").await.unwrap();
    }
    drop(server);
    look_up(&resolver, "other.example").await.unwrap_err();

    let counts = counts.0.lock().unwrap();
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    assert_eq!(of("socks_resolver_cache_total hit"), 2);
    assert_eq!(of("socks_resolver_cache_total miss"), 2);
    assert_eq!(of("socks_dns_questions_total answered"), 2, "A and AAAA");
    let in_vain = of("socks_dns_questions_total failed") + of("socks_dns_questions_total silent");
    assert!(in_vain >= 2, "{counts:?}");
}
