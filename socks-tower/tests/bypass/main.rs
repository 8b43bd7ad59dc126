//! Ways past the rules, each of which must end before the connector.
//!
//! Whole stacks are fed with the bytes that a client would send. Their
//! connectors answer any address, and keep a list of what they were asked for.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, as it should"
)]

mod addresses;
mod conditions;
mod trial;
mod words;

use addresses::{SPECIAL_V4, SPECIAL_V6, embedded};
use socks_tower::{Match, NameRules, Rules, Session};
use trial::{Answers, Trial, answers};
use words::{Told, Words};

#[tokio::test]
async fn special_addresses_are_refused_in_address_fields_and_in_name_fields() {
    for trial in Trial::defaults() {
        for ip in SPECIAL_V4.iter().chain(SPECIAL_V6) {
            for words in Words::address(ip).iter().chain(&Words::name(ip)) {
                trial.refuses(words).await;
            }
        }
    }
}

#[tokio::test]
async fn addresses_embedded_in_others_are_refused() {
    for trial in Trial::defaults() {
        for ip in SPECIAL_V4 {
            for form in embedded(ip) {
                for words in Words::address(&form).iter().chain(&Words::name(&form)) {
                    trial.refuses(words).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn every_spelling_of_loopback_is_refused() {
    for trial in Trial::defaults() {
        for host in [
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0X7F.0X0.0X0.0X1",
            "0x7f000001",
            "017700000001",
            "0177.0.0.1",
            "00000177.1",
            "2130706433",
            "2130706433.",
            "127.0.0.01",
            "0",
            "[::1]",
            "::1%lo",
            "[::1%25lo]",
            "0:0:0:0:0:0:0:1",
            "::ffff:127.0.0.1",
            "[::FFFF:7F00:1]",
            "64:ff9b::127.0.0.1",
        ] {
            for words in Words::name(host) {
                trial.refuses(&words).await;
            }
        }
    }
}

/// Some resolver would take them for an address: they do not even come to the
/// rules, as they are neither names nor addresses.
#[tokio::test]
async fn what_is_neither_a_name_nor_an_address_gets_nowhere() {
    for trial in Trial::defaults() {
        for host in [
            "127.0.0.09",
            "127.0.0.1.1",
            "127.0.0.1..",
            "localhost..",
            "localhost\0.example.com",
            "127.0.0.1\0.example.com",
            "127.0.0.1:22",
            "localhost:22",
            "127.0.0.1/x",
            "127.0.0.1 x",
            "127.0.0.%31",
            "localhos%74",
            "x@127.0.0.1",
            "x@localhost",
            "localhost#.example.com",
            "4294967297",
            "127.0.0.1\r\nx",
        ] {
            for words in Words::name(host) {
                // In SOCKS4a the NUL ends the name, and what precedes it is judged.
                assert_ne!(trial.tell(&words).await, Told::Granted, "{words:?}");
                let asked = trial.asked.lock().unwrap();
                assert!(asked.is_empty(), "{words:?}: {asked:?}");
            }
        }
    }
}

#[tokio::test]
async fn names_that_lead_to_special_addresses_are_refused() {
    for ip in SPECIAL_V4.iter().chain(SPECIAL_V6) {
        let forms = match ip.contains(':') {
            true => vec![(*ip).to_owned()],
            false => [vec![(*ip).to_owned()], embedded(ip)].concat(),
        };
        for form in forms {
            let name = "harmless.example";
            // Though a rule allows the name.
            let rules = Rules::new()
                .allow(Match::any().host(name.parse().unwrap()))
                .allow(Match::any());
            let trial = Trial::resolving(rules, answers([(name, &[&[&form]])]));
            for words in Words::name("HARMLESS.example.") {
                trial.refuses(&words).await;
            }
        }
    }
}

#[tokio::test]
async fn of_a_mixed_answer_only_what_is_allowed_is_dialled() {
    let mixed: &[&str] = &[
        "127.0.0.1",
        "192.0.2.1",
        "::1",
        "64:ff9b::a00:1",
        "10.0.0.1",
        "2001:db8::1",
    ];
    let trial = Trial::resolving(Rules::new(), answers([("mixed.example", &[mixed])]));
    for words in Words::name("mixed.example") {
        let public = ["192.0.2.1:80", "[2001:db8::1]:80"];
        trial.reaches(&words, &public).await;
    }
}

#[tokio::test]
async fn a_name_that_changes_after_it_was_judged_changes_nothing() {
    let [socks5, _] = Words::name("rebind.example");
    let flips: &[&[&str]] = &[&["192.0.2.1"], &["127.0.0.1"]];
    let trial = Trial::resolving(Rules::new(), answers([("rebind.example", flips)]));
    trial.reaches(&socks5, &["192.0.2.1:80"]).await;
    // Whoever judges one answer and dials the next has asked twice.
    assert_eq!(*trial.lookups.lock().unwrap(), 1);
    // The next session gets the next answer, and its own judgement.
    trial.refuses(&socks5).await;
    assert_eq!(*trial.lookups.lock().unwrap(), 2);
}

#[tokio::test]
async fn local_names_are_not_passed_on() {
    let trial = Trial::forwarding(NameRules::new(Rules::new().allow(Match::any())));
    for host in [
        "localhost",
        "LOCALHOST",
        "LocalHost.",
        "a.localhost",
        "a.b.LOCALHOST.",
        "localhost.localdomain",
        "localhost4.localdomain4",
        "localhost6.localdomain6",
        "ip6-localhost",
        "IP6-Loopback",
        "metadata",
        "Metadata.Google.Internal.",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.goog",
        "host.docker.internal",
        "printer.local",
    ] {
        for words in Words::name(host) {
            trial.refuses(&words).await;
        }
    }
}

#[tokio::test]
async fn names_that_idna_would_turn_into_others_are_not_passed_on() {
    let trial = Trial::forwarding(NameRules::new(Rules::new()));
    for host in [
        "１２７.０.０.１",
        "１２７。０。０。１",
        "127。0。0。1",
        "①②⑦.0.0.1.example",
        "0ｘ7f.1.example",
        "ｌｏｃａｌｈｏｓｔ",
        "localhost｡",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "local\u{ad}host.example",
        "lo\u{200b}calhost.example",
        "ſervice.internal",
    ] {
        for words in Words::name(host) {
            trial.refuses(&words).await;
        }
    }
}

#[tokio::test]
async fn a_denied_name_is_denied_in_every_spelling() {
    let rules = || Rules::new().deny(Match::any().domain("evil.example".parse().unwrap()));
    let names: &[&[&str]] = &[&["192.0.2.1"]];
    let resolving = Trial::resolving(
        rules(),
        answers([("evil.example", names), ("www.evil.example", names)]),
    );
    let forwarding = Trial::forwarding(NameRules::new(rules()));
    for trial in [resolving, forwarding] {
        for host in [
            "evil.example",
            "EVIL.Example",
            "evil.example.",
            "wWw.evil.example.",
        ] {
            for words in Words::name(host) {
                trial.refuses(&words).await;
            }
        }
    }
}

#[tokio::test]
async fn a_denied_network_is_denied_in_every_form() {
    let rules = || Rules::new().deny(Match::any().network("203.0.113.0/24".parse().unwrap()));
    let trials = [
        Trial::resolving(rules(), Answers::new()),
        Trial::forwarding(NameRules::new(rules())),
    ];
    for trial in trials {
        for words in Words::address("203.0.113.7") {
            trial.refuses(&words).await;
        }
        for form in embedded("203.0.113.7") {
            for words in Words::address(&form) {
                trial.refuses(&words).await;
            }
        }
    }
}

#[tokio::test]
async fn a_denied_client_is_denied_by_its_mapped_address_too() {
    let rules = || Rules::new().deny(Match::any().client("198.51.100.0/24".parse().unwrap()));
    for addr in ["198.51.100.1:9", "[::ffff:198.51.100.1]:9"] {
        // As a layer may set it, around `with_client_addr`.
        let mut session = Session::new();
        session.client_addr = Some(addr.parse().unwrap());
        for trial in [
            Trial::resolving(rules(), Answers::new()),
            Trial::forwarding(NameRules::new(rules())),
        ] {
            let trial = trial.with_session(session.clone());
            for words in Words::address("192.0.2.1") {
                trial.refuses(&words).await;
            }
        }
    }
}

#[tokio::test]
async fn a_claimed_user_id_is_no_identity() {
    let rules = Rules::new()
        .allow(Match::any().identity("joe"))
        .deny_by_default();
    let trial = Trial::resolving(rules, Answers::new());
    for words in Words::address("192.0.2.1") {
        // SOCKS4's words say "joe".
        trial.refuses(&words).await;
    }
}

/// The trials above would also pass if nothing ever got through.
#[tokio::test]
async fn what_is_allowed_is_reached() {
    let public: &[&[&str]] = &[&["192.0.2.1"]];
    let resolving = Trial::resolving(Rules::new(), answers([("a.example", public)]));
    let forwarding = Trial::forwarding(NameRules::new(Rules::new()));
    for words in Words::name("A.example.") {
        resolving.reaches(&words, &["192.0.2.1:80"]).await;
        forwarding.reaches(&words, &["A.example.:80"]).await;
    }
    for trial in [&resolving, &forwarding] {
        for words in Words::address("192.0.2.1")
            .iter()
            .chain(&Words::name("192.0.513"))
        {
            trial.reaches(words, &["192.0.2.1:80"]).await;
        }
        let [mapped] = &Words::address("::ffff:192.0.2.1")[..] else {
            panic!("SOCKS4 has no IPv6");
        };
        assert_eq!(trial.tell(mapped).await, Told::Granted);
    }

    let lifted = Rules::new().permit_all_special();
    let lifted = Trial::resolving(lifted, Answers::new());
    for words in Words::name("127.1") {
        lifted.reaches(&words, &["127.0.0.1:80"]).await;
    }
}
