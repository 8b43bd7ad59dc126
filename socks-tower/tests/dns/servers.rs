//! Several servers, of which some are of no use.

use std::time::{Duration, Instant};

use crate::{
    proxy::{found, socks5},
    server::*,
};

const HERE: [u8; 4] = [11, 0, 0, 1];

#[tokio::test]
async fn a_lame_first_server_is_passed_over_and_then_asked_last() {
    let refusing = Server::start(|query| vec![Answers(query.fails(REFUSED))]).await;
    let failing = Server::start(|query| vec![Answers(query.fails(SERVFAIL))]).await;
    let referring = Server::start(|query| {
        let elsewhere = name("ns.example");
        vec![Answers(
            query.reply().authority("example", NS, 60, &elsewhere),
        )]
    })
    .await;
    for lame in [refusing, failing, referring] {
        let good = Server::start(v4(HERE)).await;
        let resolver = resolver(&[&lame, &good]);
        assert_eq!(found(&resolver, "a.example").await, ["11.0.0.1"]);
        assert_eq!(lame.asked("a.example", A), 1);
        for next in ["b.example", "c.example"] {
            assert_eq!(found(&resolver, next).await, ["11.0.0.1"]);
            assert_eq!(lame.asked(next, A), 0);
        }
        drop(good);
        // But it is asked.
        assert_eq!(socks5(&resolver, "d.example").await.0, []);
        assert_eq!(lame.asked("d.example", A), 1);
    }
}

#[tokio::test]
async fn a_silent_server_costs_one_timeout_and_is_then_asked_last() {
    let silent = Server::start(|_| vec![]).await;
    let good = Server::start(v4(HERE)).await;
    let resolver = resolver(&[&silent, &good]).with_timeout(Duration::from_millis(700));
    let begun = Instant::now();
    assert_eq!(found(&resolver, "a.example").await, ["11.0.0.1"]);
    assert!(begun.elapsed() >= Duration::from_millis(700));
    for next in ["b.example", "c.example"] {
        assert_eq!(found(&resolver, next).await, ["11.0.0.1"]);
        assert_eq!(silent.asked(next, A), 0);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_costs_no_timeout() {
    let gone = Server::start(|_| vec![]).await;
    let good = Server::start(v4(HERE)).await;
    let resolver = resolver(&[&gone, &good]).with_timeout(Duration::from_secs(600));
    drop(gone);
    tokio::task::yield_now().await;
    let found = tokio::time::timeout(Duration::from_secs(20), found(&resolver, "a.example"));
    assert_eq!(found.await.unwrap(), ["11.0.0.1"]);
}

#[tokio::test]
async fn what_one_server_says_is_not_there_no_other_is_asked_for() {
    let first = Server::start(|query| vec![Answers(query.fails(NXDOMAIN).soa(60))]).await;
    let second = Server::start(v4(HERE)).await;
    let resolver = resolver(&[&first, &second]);
    assert_eq!(socks5(&resolver, "a.example").await, (vec![], 4));
    assert_eq!(second.asked_at_all(), 0);
}

#[tokio::test]
async fn one_that_was_silent_to_one_name_and_answers_another_is_first_again() {
    let slow_zone = Server::start(|query| match query.name.as_str() {
        "dead.example" => vec![],
        _ => v4(HERE)(query),
    })
    .await;
    let second = Server::start(v4([11, 0, 0, 2])).await;
    let resolver = resolver(&[&slow_zone, &second]);
    assert_eq!(found(&resolver, "dead.example").await, ["11.0.0.2"]);
    assert_eq!(found(&resolver, "a.example").await, ["11.0.0.2"]);
    drop(second);
    assert_eq!(found(&resolver, "b.example").await, ["11.0.0.1"]);
    assert_eq!(found(&resolver, "c.example").await, ["11.0.0.1"]);
}
