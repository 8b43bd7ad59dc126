use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Barrier, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
};

use socks_core::v5::Command;
use tokio_test::task::spawn;
use tower::ServiceExt;

use super::*;
use crate::session::Session;

const FOUND: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn name(name: &str) -> DomainName {
    DomainName::new(name).unwrap()
}

fn asked(host: &str) -> Request<DomainName> {
    Request::new(Session::new(), Command::CONNECT, name(host))
}

/// Asks by `lookup` in the system's place.
fn by(
    lookup: impl Fn(&DomainName) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
) -> SystemResolver {
    SystemResolver::asking(move |host| match host {
        Host::Name(name) => Ok(lookup(name)?.into_iter().map(Host::Ip).collect()),
        Host::Ip(_) => unreachable!(),
    })
}

/// As [`asked`], by the client with this number.
fn asked_by(client: u32, host: &str) -> Request<DomainName> {
    let mut request = asked(host);
    let ip = Ipv4Addr::from_bits(client);
    request.session = Session::new().with_client_addr((ip, 1).into());
    request
}

/// A lookup that says when it has begun, and ends when it is told to.
struct Stuck {
    begun: mpsc::Receiver<String>,
    release: mpsc::Sender<()>,
}

/// Names that begin with "stuck" hang; all others are answered at once.
fn stuck() -> (SystemResolver, Stuck) {
    let (tell_begun, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let resolver = by(move |name| {
        tell_begun.send(name.to_string()).ok();
        if name.as_str().starts_with("stuck") {
            released.lock().unwrap().recv().ok();
        }
        Ok(vec![FOUND])
    });
    (resolver, Stuck { begun, release })
}

#[tokio::test]
async fn localhost_is_found() {
    let addrs = SystemResolver::new().oneshot(asked("localhost")).await;
    let addrs = addrs.unwrap();
    assert!(!addrs.is_empty());
    assert!(addrs.iter().all(IpAddr::is_loopback), "{addrs:?}");
}

#[test]
fn it_runs_on_a_runtime_of_either_flavour() {
    use tokio::runtime::Builder;

    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = builder.enable_time().build().unwrap();
        let found = runtime.block_on(SystemResolver::new().oneshot(asked("localhost")));
        assert!(found.is_ok());
    }
}

#[tokio::test]
async fn a_thousand_lookups_take_no_more_threads_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // Opens for four at a time: fewer than four threads would never get by.
    let together = Barrier::new(4);
    let resolver = by({
        let (now, most) = (now.clone(), most.clone());
        move |_| {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            together.wait();
            now.fetch_sub(1, SeqCst);
            Ok(vec![FOUND])
        }
    })
    .with_threads(4)
    .with_timeout(Duration::from_secs(60));

    let lookups: Vec<_> = (0..1000)
        .map(|n| {
            tokio::spawn(
                resolver
                    .clone()
                    .oneshot(asked_by(n, &format!("n{n}.example"))),
            )
        })
        .collect();
    for lookup in lookups {
        assert_eq!(lookup.await.unwrap().unwrap(), [FOUND]);
    }
    assert_eq!(most.load(SeqCst), 4);
}

#[tokio::test]
async fn one_lookup_too_many_of_a_client_fails_at_once() {
    let (resolver, stuck) = stuck();
    let resolver = resolver.with_threads(1).with_queue(5);
    let mut waiting: Vec<_> = ["stuck.example", "b.example", "c.example"]
        .map(|host| spawn(resolver.clone().oneshot(asked(host))))
        .into();
    for lookup in &mut waiting {
        assert!(lookup.poll().is_pending());
    }

    let error = resolver.clone().oneshot(asked("d.example")).await;
    assert!(matches!(
        error,
        Err(LookupError::Overloaded { limit: 6, .. })
    ));

    // Once a caller has gone, its place is free.
    waiting.pop();
    waiting.push(spawn(resolver.clone().oneshot(asked("e.example"))));
    assert!(waiting[2].poll().is_pending());

    stuck.release.send(()).unwrap();
    for lookup in waiting {
        assert_eq!(lookup.await.unwrap(), [FOUND]);
    }
    let begun: Vec<_> = stuck.begun.try_iter().collect();
    assert_eq!(begun, ["stuck.example", "b.example", "e.example"]);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_lookup_ends_at_its_deadline() {
    let (resolver, _stuck) = stuck();
    let begun = tokio::time::Instant::now();
    let error = resolver.oneshot(asked("stuck.example")).await.unwrap_err();
    assert!(matches!(error, LookupError::TimedOut { .. }), "{error:?}");
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_the_wait_for_a_thread() {
    let (resolver, stuck) = stuck();
    let resolver = resolver.with_threads(1);
    let mut first = spawn(resolver.clone().oneshot(asked("stuck.example")));
    assert!(first.poll().is_pending());
    stuck.begun.recv().unwrap();

    let error = resolver.oneshot(asked("b.example")).await.unwrap_err();
    assert!(matches!(error, LookupError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn stuck_lookups_leave_the_other_threads_to_others() {
    let (resolver, stuck) = stuck();
    let resolver = resolver.with_threads(4);
    let mut held: Vec<_> = ["stuck1.example", "stuck2.example"]
        .map(|host| spawn(resolver.clone().oneshot(asked(host))))
        .into();
    for lookup in &mut held {
        assert!(lookup.poll().is_pending());
        stuck.begun.recv().unwrap();
    }
    for n in 0..100 {
        let found = resolver
            .clone()
            .oneshot(asked_by(1, &format!("n{n}.example")));
        assert_eq!(found.await.unwrap(), [FOUND]);
    }
}

#[tokio::test]
async fn a_lookup_whose_caller_has_gone_is_not_begun() {
    let (resolver, stuck) = stuck();
    let resolver = resolver.with_threads(1);
    let mut first = spawn(resolver.clone().oneshot(asked("stuck.example")));
    let mut gone = spawn(resolver.clone().oneshot(asked("gone.example")));
    let mut last = spawn(resolver.oneshot(asked("last.example")));
    assert!(first.poll().is_pending());
    assert!(gone.poll().is_pending());
    assert!(last.poll().is_pending());
    drop(gone);

    stuck.release.send(()).unwrap();
    assert_eq!(last.await.unwrap(), [FOUND]);
    let begun: Vec<_> = stuck.begun.try_iter().collect();
    assert_eq!(begun, ["stuck.example", "last.example"]);
}

#[tokio::test]
async fn ten_thousand_slow_names_of_one_client_do_not_hold_up_another_s() {
    let (resolver, stuck) = stuck();
    let resolver = resolver.with_timeout(Duration::from_secs(3600));
    let mut slow: Vec<_> = (0..10_000)
        .map(|n| {
            spawn(
                resolver
                    .clone()
                    .oneshot(asked_by(1, &format!("stuck{n}.example"))),
            )
        })
        .collect();
    for lookup in &mut slow {
        assert!(lookup.poll().is_pending());
    }
    // However many come: each has its answer while all of the slow ones wait.
    for client in 2..20 {
        let found = resolver.clone().oneshot(asked_by(client, "quick.example"));
        assert_eq!(found.await.unwrap(), [FOUND]);
    }
    let begun = stuck
        .begun
        .try_iter()
        .filter(|name| name != "quick.example");
    assert_eq!(begun.count(), SystemResolver::DEFAULT_THREADS / 2);

    // Those that have not begun leave nothing.
    drop(slow);
    assert_eq!(resolver.pool.len(), SystemResolver::DEFAULT_THREADS / 2);
    drop(stuck.release);
}

#[tokio::test]
async fn a_thousand_clients_that_ask_for_one_name_ask_once() {
    let (resolver, stuck) = stuck();
    let mut waiting: Vec<_> = (0..1000)
        .map(|client| spawn(resolver.clone().oneshot(asked_by(client, "stuck.example"))))
        .collect();
    for lookup in &mut waiting {
        assert!(lookup.poll().is_pending());
    }
    stuck.release.send(()).unwrap();
    for lookup in waiting {
        assert_eq!(lookup.await.unwrap(), [FOUND]);
    }
    assert_eq!(stuck.begun.try_iter().count(), 1);
}

#[tokio::test]
async fn a_name_without_an_address_of_the_family_has_none() {
    use crate::works::resolve::Family;

    let resolver = by(|_| Ok(vec![FOUND]));
    for (family, is_found) in [(Family::Ipv4, true), (Family::Ipv6, false)] {
        let resolver = resolver.clone().with_family(family);
        let found = resolver.oneshot(asked("db.example")).await;
        assert_eq!(found.is_ok(), is_found, "{family:?}");
    }
}

#[tokio::test]
async fn what_no_server_may_be_asked_is_not_asked() {
    let resolver = by(|name| panic!("{name} was asked for"));
    for name in ["localhost", "localhost.", "foo.localhost", "Foo.Localhost."] {
        let found = resolver.clone().oneshot(asked(name)).await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{name}");
    }
    for name in ["a.onion", "a.onion.", "b.invalid", "invalid."] {
        let error = resolver.clone().oneshot(asked(name)).await.unwrap_err();
        assert!(matches!(error, LookupError::NotFound { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_panic_fails_one_lookup_alone() {
    let resolver = by(|name| {
        assert_ne!(name.as_str(), "bad.example", "as this test expects");
        Ok(vec![FOUND])
    })
    .with_threads(1);
    let error = resolver.clone().oneshot(asked("bad.example")).await;
    assert!(matches!(error, Err(LookupError::Failed { .. })));
    let found = resolver.oneshot(asked("good.example")).await;
    assert_eq!(found.unwrap(), [FOUND]);
}

#[tokio::test]
async fn a_system_without_threads_to_give_is_an_error() {
    let mut resolver = SystemResolver::new();
    // More than there is address space.
    let stack = usize::MAX / 4;
    let pool = resolver
        .pool
        .with_limits(|limits| Limits { stack, ..limits });
    resolver.pool = Arc::new(pool);
    for _ in 0..2 {
        let error = resolver.clone().oneshot(asked("a.example")).await;
        assert!(matches!(error, Err(LookupError::NoThread { .. })));
    }
}

#[tokio::test]
async fn what_the_system_says_is_the_source() {
    let resolver = by(|_| Err(io::Error::other("no name server")));
    let error = resolver.oneshot(asked("a.example")).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "no name server");
}

#[tokio::test]
async fn no_address_at_all_is_not_found() {
    let resolver = by(|_| Ok(Vec::new()));
    let error = resolver.oneshot(asked("a.example")).await.unwrap_err();
    assert!(matches!(error, LookupError::NotFound { .. }), "{error:?}");
}

#[test]
fn a_runtime_does_not_wait_for_a_stuck_lookup() {
    let (resolver, stuck) = stuck();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lookup = runtime.spawn(resolver.oneshot(asked("stuck.example")));
    stuck.begun.recv().unwrap();

    // Would hang here if it waited: the lookup is let go only afterwards.
    drop(runtime);
    stuck.release.send(()).unwrap();
    drop(lookup);
}

#[test]
fn addresses_keep_their_order_and_come_once() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
    let found = distinct([v6, mapped, FOUND, v6].into_iter());
    assert_eq!(found, [v6, FOUND]);

    let many = (0..1000).map(|n| IpAddr::V4(Ipv4Addr::from_bits(n)));
    assert_eq!(distinct(many).len(), SystemResolver::MAX_ADDRS);
}
