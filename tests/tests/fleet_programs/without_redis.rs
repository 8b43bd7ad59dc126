//! Redis ends, and begins again.

use socks_tests::{
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep},
};

use crate::{
    flags,
    fleet::Fleet,
    load::{Counting, Load, connect},
};

const GONE: Duration = Duration::from_secs(10);

/// Both links have heard that Redis is there, or gone.
async fn links(fleet: &Fleet, are_up: bool) {
    let all = async {
        loop {
            let pages = fleet.pages("/metrics").await;
            let line = |page: &String, node: &str| {
                let up = u8::from(are_up);
                page.contains(&format!("socks_redis_up{{node=\"{node}\"}} {up}"))
            };
            if line(&pages[0], "a") && line(&pages[1], "b") {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    patiently("both links", all).await;
}

/// Takes up to `most` places of joe's.
async fn take(fleet: &Fleet, counting: &Counting, most: usize) -> Vec<TcpStream> {
    let mut taken = Vec::new();
    for _ in 0..most {
        let tunnel = connect(fleet.addr(), ("joe", "pw"), counting.origin.addr()).await;
        taken.extend(tunnel);
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs haproxy and redis-server"]
async fn with_redis_gone_nobody_is_refused_and_what_it_kept_counts_again() {
    let limits = [
        "--limit=user=joe connections=10",
        "--limit=user=sue quota=1MiB/day",
    ];
    let flags = flags(&["joe", "sue"], &limits);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut fleet = Fleet::start(&flags).await;
    let echo = Origin::echo(V4).await;
    let counting = Counting::start().await;
    let load = Load::start(fleet.addr(), echo.addr());
    let joes = take(&fleet, &counting, 12).await;
    assert_eq!(joes.len(), 10);
    used_up(&fleet).await;

    let gone = Instant::now();
    fleet.end_redis().await;
    links(&fleet, false).await;
    assert!(fleet.pages("/api/state").await[0].contains(r#""is_up":false"#));
    // A node counts alone: it has fewer than all of joe's.
    assert!(!take(&fleet, &counting, 2).await.is_empty());
    tokio::time::sleep_until(gone + GONE).await;
    fleet.begin_redis(true).await;
    links(&fleet, true).await;
    println!("gone for {:?}", gone.elapsed());
    let (done, failed) = load.take();
    assert_eq!(failed, [""; 0], "of {done}");
    println!("count-alone: {done} served, none refused");
    assert!(done > 1000, "{done}");

    // The nodes have told it what they hold, and it has kept what was used.
    assert_eq!(take(&fleet, &counting, 4).await.len(), 0);
    assert!(
        connect(fleet.addr(), ("sue", "pw"), echo.addr())
            .await
            .is_err()
    );
    for node in ["a", "b"] {
        let lines = fleet.log_of(node);
        let said = |what: &str| lines.lines().filter(|line| line.contains(what)).count();
        assert_eq!(said("Redis does not answer"), 1);
        assert_eq!(said("Redis answers again"), 1);
    }

    // And if it has kept nothing, joe's tunnels count all the same.
    fleet.end_redis().await;
    links(&fleet, false).await;
    fleet.begin_redis(false).await;
    links(&fleet, true).await;
    assert_eq!(take(&fleet, &counting, 4).await.len(), 0);
    assert!(
        connect(fleet.addr(), ("sue", "pw"), echo.addr())
            .await
            .is_ok()
    );
    drop(joes);
}

/// Uses sue's quota up.
async fn used_up(fleet: &Fleet) {
    use tokio::io::AsyncReadExt;

    let endless = Origin::serve(V4, |mut stream| async move {
        use tokio::io::AsyncWriteExt;
        while stream.write_all(&[7; 65_536]).await.is_ok() {}
    })
    .await;
    let used = async {
        while let Ok(mut tunnel) = connect(fleet.addr(), ("sue", "pw"), endless.addr()).await {
            let _ = tunnel.read_to_end(&mut Vec::new()).await;
        }
    };
    patiently("the end of a quota", used).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs haproxy and redis-server"]
async fn with_redis_gone_everybody_is_refused_if_so_chosen_and_at_once() {
    let flags = flags(&[], &["--redis-when-gone=refuse"]);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut fleet = Fleet::start(&flags).await;
    let echo = Origin::echo(V4).await;
    drop(
        connect(fleet.addr(), ("u1", "pw"), echo.addr())
            .await
            .unwrap(),
    );
    fleet.end_redis().await;
    links(&fleet, false).await;
    let load = Load::start(fleet.addr(), echo.addr());
    sleep(GONE).await;
    let asked = Instant::now();
    assert!(
        connect(fleet.addr(), ("u1", "pw"), echo.addr())
            .await
            .is_err()
    );
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    let (done, failed) = load.take();
    assert_eq!(done, 0);
    println!("refuse: {} refused, none served", failed.len());
    assert!(failed.len() > 1000, "{}", failed.len());
    fleet.begin_redis(true).await;
    links(&fleet, true).await;
    // What was asked before may still be on its way.
    sleep(Duration::from_millis(200)).await;
    load.take();
    sleep(Duration::from_secs(1)).await;
    let (done, failed) = load.take();
    assert_eq!(failed, [""; 0]);
    assert!(done > 100, "{done}");
}
