//! Both nodes are restarted.

use socks_tests::{
    client::assert_echoes,
    origin::{Origin, V4},
};
use tokio::{
    io::AsyncReadExt,
    time::{Duration, Instant, sleep},
};

use crate::{
    flags,
    fleet::Fleet,
    load::{Load, connect},
};

const UNREADY: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs haproxy and redis-server"]
async fn a_rolling_restart_refuses_nobody_and_cuts_nothing_before_its_time() {
    let flags = flags(&["joe"], &["--grace=3"]);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let fleet = Fleet::start(&flags).await;
    let echo = Origin::echo(V4).await;
    let load = Load::start(fleet.addr(), echo.addr());
    let mut tunnels = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for _ in 0..20 {
        let mut tunnel = connect(fleet.addr(), ("joe", "pw"), echo.addr())
            .await
            .unwrap();
        assert_echoes(&mut tunnel, b"before").await;
        tunnels.spawn(async move {
            let _ = tunnel.read(&mut [0]).await;
            begun.elapsed()
        });
    }
    sleep(Duration::from_secs(1)).await;
    let restarts = begun.elapsed();
    let ran = fleet.rolling_restart().await;
    let said = String::from_utf8(ran.expect_success()).unwrap();
    assert_eq!(said, "a is new\nb is new\n");
    let over = begun.elapsed();
    sleep(Duration::from_secs(1)).await;
    let (done, failed) = load.take();
    assert_eq!(failed, [""; 0], "of {done}");
    println!(
        "rolling: {done} served, none refused, in {:?}",
        over - restarts
    );
    assert!(done > 1000, "{done}");

    // Half of them were each node's.
    let mut ends = tunnels.join_all().await;
    ends.sort();
    println!(
        "rolling: tunnels ended {:?} to {:?} after it began",
        ends[0] - restarts,
        ends[19] - restarts
    );
    assert!(ends[0] >= restarts + UNREADY + GRACE, "{ends:?}");
    // Those of the second had longer, while the first was restarted.
    assert!(ends[19] >= ends[0] + UNREADY + GRACE, "{ends:?}");
    let mut tunnel = connect(fleet.addr(), ("joe", "pw"), echo.addr())
        .await
        .unwrap();
    assert_echoes(&mut tunnel, b"after").await;
}
