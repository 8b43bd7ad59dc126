//! Rules with groups and windows: what they deny, in every version, and what
//! they let through.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use socks_tower::{Group, Match, NameRules, Rules, Session};

use super::{
    trial::{Trial, answers},
    words::Words,
};

/// Names that resolve to an address outside of the groups' networks, and one
/// that resolves into them.
fn trials(rules: impl Fn() -> Rules) -> [Trial; 2] {
    let outside: &[&[&str]] = &[&["192.0.2.1"]];
    let within: &[&[&str]] = &[&["203.0.113.7"]];
    let names = answers([
        ("ads.example", outside),
        ("a.ads.example", outside),
        ("example.com", outside),
        ("hidden.example", within),
    ]);
    [
        Trial::resolving(rules(), names),
        Trial::forwarding(NameRules::new(rules())),
    ]
}

#[tokio::test]
async fn a_group_of_targets_is_denied_and_what_is_beside_it_reached() {
    let ads = Group::parse("ads", "*.ads.example\n203.0.113.0/24\n").unwrap();
    let [resolving, forwarding] = trials(|| Rules::new().deny(Match::any().within(&ads)));
    for trial in [&resolving, &forwarding] {
        for words in Words::address("203.0.113.7")
            .iter()
            .chain(&Words::name("ads.example"))
            .chain(&Words::name("a.ADS.example."))
        {
            trial.refuses(words).await;
        }
        for words in Words::address("203.0.114.7") {
            trial.reaches(&words, &["203.0.114.7:80"]).await;
        }
    }
    for words in Words::name("hidden.example") {
        resolving.refuses(&words).await;
    }
    for words in Words::name("example.com") {
        resolving.reaches(&words, &["192.0.2.1:80"]).await;
        forwarding.reaches(&words, &["example.com:80"]).await;
    }
}

#[tokio::test]
async fn a_group_of_clients_is_let_through_and_others_are_not() {
    let office = Group::new("office").network("198.51.100.0/24".parse().unwrap());
    let rules = || {
        let in_office = Match::any().client_in(&office);
        Rules::new().allow(in_office).deny_by_default()
    };
    let from = |addr: &str| Session::new().with_client_addr(addr.parse().unwrap());
    for trial in trials(rules) {
        for words in Words::address("192.0.2.1") {
            let outside = trial.clone().with_session(from("198.51.101.1:9"));
            outside.refuses(&words).await;
            let inside = trial.clone().with_session(from("198.51.100.1:9"));
            inside.reaches(&words, &["192.0.2.1:80"]).await;
        }
    }
}

#[tokio::test]
async fn a_window_lets_through_while_it_is_open_and_denies_before_and_after() {
    // 2026-11-23 00:00 UTC, a Monday.
    const MONDAY: u64 = 1_795_392_000;
    let hour = Arc::new(AtomicU64::new(0));
    let rules = || {
        let hour = Arc::clone(&hour);
        let open = "mon-fri 08:00-17:00".parse().unwrap();
        Rules::new()
            .allow(Match::any().during(open))
            .deny_by_default()
            .with_clock(move || {
                let hours = hour.load(Ordering::Relaxed);
                UNIX_EPOCH + Duration::from_secs(MONDAY + hours * 3600)
            })
    };
    for trial in trials(rules) {
        for (now, is_open) in [(7, false), (8, true), (16, true), (17, false), (128, false)] {
            hour.store(now, Ordering::Relaxed);
            for words in Words::address("192.0.2.1") {
                match is_open {
                    true => trial.reaches(&words, &["192.0.2.1:80"]).await,
                    false => trial.refuses(&words).await,
                }
            }
        }
    }
}
