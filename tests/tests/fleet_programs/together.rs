//! What both nodes count together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use rustix::process::Signal;
use socks_tests::{
    client::{Refused, socks5_from},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

use crate::{
    flags,
    fleet::{Fleet, loopback},
    load::{Counting, Load, connect},
};

const MOST: usize = 50;
const LEASE: Duration = Duration::from_secs(5);
const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs haproxy and redis-server"]
async fn limits_locks_and_quotas_hold_over_both_nodes_under_load() {
    let limits = [
        "--limit=user=joe connections=50",
        "--limit=user=ann new=100/second",
        "--limit=user=sue quota=100MiB/day",
        "--redis-lease=5",
        "--lockout-after=3",
        "--lockout-time=60",
    ];
    let flags = flags(&["joe", "ann", "sue", "bob"], &limits);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let fleet = Fleet::start(&flags).await;
    let echo = Origin::echo(V4).await;
    let load = Load::start(fleet.addr(), echo.addr());
    let served = |what: &str| {
        let (done, failed) = load.take();
        println!("{what}: {done} of the load's connections meanwhile");
        assert_eq!(failed, [""; 0], "{what}: {done} were served");
        assert!(done > 0, "{what}");
    };

    never_more_than_fifty(&fleet).await;
    served("live");
    at_its_rate(&fleet, echo.addr()).await;
    served("rate");
    locked_out_everywhere(&fleet, echo.addr()).await;
    served("lock-out");
    no_more_than_its_quota(&fleet).await;
    served("quota");
    what_a_dead_node_held_comes_back(&fleet).await;
}

/// Joe's tunnels come and go as fast as they can, and are never more than may be.
async fn never_more_than_fifty(fleet: &Fleet) {
    let counting = Counting::start().await;
    let (addr, origin) = (fleet.addr(), counting.origin.addr());
    let refused = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    let end = Instant::now() + Duration::from_secs(8);
    for number in 0..80_u64 {
        let refused = Arc::clone(&refused);
        clients.spawn(async move {
            let mut opened = 0;
            while Instant::now() < end {
                match connect(addr, ("joe", "pw"), origin).await {
                    Ok(mut tunnel) => {
                        opened += 1;
                        tunnel.read_exact(&mut [0]).await.unwrap();
                        sleep(Duration::from_millis(100 + number * 7 % 400)).await;
                        end_of(tunnel).await;
                    }
                    Err(_) => {
                        refused.fetch_add(1, SeqCst);
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            }
            opened
        });
    }
    let opened: usize = clients.join_all().await.into_iter().sum();
    let refused = refused.load(SeqCst);
    println!(
        "live: {opened} of joe's, {refused} refused, most {}",
        counting.most()
    );
    assert_eq!(counting.most(), MOST);
    assert!(opened > 10 * MOST && refused > MOST, "{opened}, {refused}");

    // At rest, each page shows as many, of both nodes.
    let held = filled(fleet, &counting).await;
    let of_a = patiently("all on both pages", async {
        loop {
            let [a, b] = pages(fleet).await;
            if a == b && a.len() == MOST {
                return a;
            }
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(counting.now(), MOST);
    let here = |node: &str| of_a.iter().filter(|(_, at)| at == node).count();
    assert_eq!(here("a") + here("b"), MOST);
    assert!((1..MOST).contains(&here("a")), "{of_a:?}");

    // And one ends them, wherever they are. A list may be two seconds old.
    let begun = Instant::now();
    while counting.now() > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{} live",
            counting.now()
        );
        let [of_a, _] = pages(fleet).await;
        for (id, _) in of_a {
            fleet.end(&id).await;
        }
    }
    println!(
        "sessions: all ended by one page within {:?}",
        begun.elapsed()
    );
    for mut tunnel in held {
        let _ = patiently("the end", tunnel.read_to_end(&mut Vec::new())).await;
    }
}

/// The numbers of joe's sessions and where they are, as each page has them.
async fn pages(fleet: &Fleet) -> [Vec<(String, String)>; 2] {
    let pages = fleet.pages("/api/state?find=joe").await;
    pages.map(|page| {
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let sessions = page["sessions"].as_array().unwrap().iter();
        let said = |it: &serde_json::Value| it.as_str().unwrap().to_owned();
        let mut sessions: Vec<_> = sessions
            .map(|it| (said(&it["id"]), said(&it["node"])))
            .collect();
        sessions.sort();
        sessions
    })
}

/// Opens as many tunnels as joe may have, and two that he may not, once those before are gone.
async fn filled(fleet: &Fleet, counting: &Counting) -> Vec<TcpStream> {
    let mut held = Vec::new();
    let full = async {
        while held.len() < MOST {
            let tunnel = connect(fleet.addr(), ("joe", "pw"), counting.origin.addr()).await;
            match tunnel {
                Ok(tunnel) => held.push(tunnel),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    patiently("the last places", full).await;
    for _ in 0..4 {
        let over = connect(fleet.addr(), ("joe", "pw"), counting.origin.addr()).await;
        assert!(over.is_err(), "{over:?}");
    }
    held
}

async fn end_of(mut tunnel: TcpStream) {
    tunnel.shutdown().await.unwrap();
    let _ = patiently("the end", tunnel.read_to_end(&mut Vec::new())).await;
}

/// Ann asks for twice as many new ones as she may have.
async fn at_its_rate(fleet: &Fleet, echo: std::net::SocketAddr) {
    const SECONDS: usize = 6;
    let addr = fleet.addr();
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for number in 0..200 * SECONDS {
        let at = begun + Duration::from_millis(5) * u32::try_from(number).unwrap();
        tokio::time::sleep_until(at).await;
        clients.spawn(async move { connect(addr, ("ann", "pw"), echo).await.is_ok() });
    }
    let let_in = clients
        .join_all()
        .await
        .into_iter()
        .filter(|&it| it)
        .count();
    let seconds = begun.elapsed().as_secs_f64();
    // A second's worth may come at once.
    let expected = 100.0 * (seconds + 1.0);
    let of_it = let_in as f64 / expected;
    println!("rate: {let_in} in {seconds:.2} s, {of_it:.3} of {expected:.0}");
    assert!((0.95..=1.05).contains(&of_it), "{let_in} of {expected}");
}

/// Wrong passwords at both, directly: HAProxy would choose.
async fn locked_out_everywhere(fleet: &Fleet, echo: std::net::SocketAddr) {
    let [a, b] = fleet.nodes();
    let ask = |node, password| socks5_from(loopback(7), node, Some(("bob", password)), echo);
    for node in [a, b] {
        assert!(ask(node, "pw").await.is_ok());
    }
    for node in [a, b, a] {
        assert_eq!(ask(node, "wrong").await.unwrap_err(), Refused::Password);
    }
    let begun = Instant::now();
    let everywhere = async {
        for node in [b, a] {
            while ask(node, "pw").await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    patiently("a lock at both nodes", everywhere).await;
    println!("lock-out: at both nodes within {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1));
    for node in [a, b] {
        assert!(ask(node, "pw").await.is_err());
        // From elsewhere nothing is wrong.
        let other = socks5_from(loopback(8), node, Some(("bob", "pw")), echo).await;
        assert!(other.is_ok());
    }
}

/// Sue fetches through both nodes at once, until nothing is left.
async fn no_more_than_its_quota(fleet: &Fleet) {
    let endless = Origin::serve(V4, |mut stream| async move {
        while stream.write_all(&[7; 65_536]).await.is_ok() {}
    })
    .await;
    let fetched = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for node in fleet.nodes() {
        let (fetched, endless) = (Arc::clone(&fetched), endless.addr());
        clients.spawn(async move {
            let mut bytes = vec![0; 65_536];
            loop {
                let ask = socks5_from(loopback(9), node, Some(("sue", "pw")), endless);
                let Ok(mut tunnel) = ask.await else { return };
                while let Ok(len @ 1..) = tunnel.read(&mut bytes).await {
                    fetched.fetch_add(len, SeqCst);
                }
            }
        });
    }
    patiently("the end of a quota", clients.join_all()).await;
    let fetched = u64::try_from(fetched.load(SeqCst)).unwrap();
    println!("quota: {fetched} bytes of {}", 100 * MIB);
    let batch = MIB;
    assert!(fetched <= 100 * MIB, "{fetched}");
    assert!(fetched >= 100 * MIB - 2 * batch, "{fetched}");
}

/// Nothing comes, and no end.
fn is_up(tunnel: &TcpStream) -> bool {
    loop {
        match tunnel.try_read(&mut [0; 8]) {
            Ok(1..) => {}
            Ok(0) => return false,
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Half of joe's tunnels are cut, and their places are taken again when their leases are over.
async fn what_a_dead_node_held_comes_back(fleet: &Fleet) {
    let counting = Counting::start().await;
    let held = filled(fleet, &counting).await;
    fleet.signal("b", Signal::KILL);
    let killed = Instant::now();
    // HAProxy hears of it at once, and says so.
    sleep(Duration::from_millis(500)).await;
    let mut left: Vec<_> = held.into_iter().filter(is_up).collect();
    assert!((1..MOST).contains(&left.len()), "{}", left.len());
    let first = connect(fleet.addr(), ("joe", "pw"), counting.origin.addr()).await;
    let is_early = killed.elapsed() < LEASE - Duration::from_secs(2);
    assert!(!is_early || first.is_err(), "after {:?}", killed.elapsed());
    let cut = MOST - left.len();
    left.extend(first);
    let again = async {
        while left.len() < MOST {
            match connect(fleet.addr(), ("joe", "pw"), counting.origin.addr()).await {
                Ok(tunnel) => left.push(tunnel),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    patiently("the places of a dead node", again).await;
    println!("kill -9: {cut} places back after {:?}", killed.elapsed());
    assert!(killed.elapsed() < LEASE + Duration::from_secs(2));
    let over = connect(fleet.addr(), ("joe", "pw"), counting.origin.addr()).await;
    assert!(over.is_err());
}
