//! What a server answers, and what clients hear of it.

use std::time::{Duration, Instant};

use socks_tower::{CacheLayer, LookupError, works::resolve::Family};

use crate::{
    proxy::{all_hear, found, look_up, socks5},
    server::*,
};

const HERE: [u8; 4] = [11, 0, 0, 1];

#[tokio::test]
async fn what_is_no_answer_is_passed_over_and_the_wait_goes_on() {
    let server = Server::start(|query| {
        if query.kind != A {
            return vec![Answers(query.reply().soa(60))];
        }
        let lie = query.addr([11, 6, 6, 6]);
        let spoil = |spoil: fn(&mut Reply)| {
            let mut lie = lie.clone();
            spoil(&mut lie);
            Answers(lie)
        };
        let mut other_name = query.clone();
        other_name.name = "other.example".to_owned();
        vec![
            Sends(b"".to_vec()),
            Sends(b"junk".to_vec()),
            Sends(vec![0xff; 600]),
            spoil(|lie| lie.id = !lie.id),
            spoil(|lie| lie.response = false),
            spoil(|lie| lie.question = [name("other.example"), vec![0, 1, 0, 1]].concat()),
            // The same name, another type.
            spoil(|lie| *lie.question.iter_mut().rev().nth(2).unwrap() ^= 0x20),
            AnswersFromElsewhere(lie),
            Waits(Duration::from_millis(20)),
            Answers(query.addr(HERE)),
        ]
    })
    .await;
    let resolver = resolver(&[&server]);
    assert_eq!(found(&resolver, "db.example").await, ["11.0.0.1"]);
    // The wait went on: nothing was asked again.
    assert_eq!(server.asked("db.example", A), 1);
}

#[tokio::test]
async fn answers_for_another_question_and_from_another_source_alone_are_silence() {
    let other_question = Server::start(|query| {
        let mut reply = query.addr([11, 6, 6, 6]);
        reply.question = [name("other.example"), vec![0, 1, 0, 1]].concat();
        vec![Answers(reply)]
    })
    .await;
    let other_source =
        Server::start(|query| vec![AnswersFromElsewhere(query.addr([11, 6, 6, 6]))]).await;
    for server in [other_question, other_source] {
        assert_eq!(
            socks5(&resolver(&[&server]), "db.example").await,
            (vec![], 6)
        );
    }
}

#[tokio::test]
async fn each_kind_of_failure_has_its_reply_in_every_protocol() {
    let expected = |socks: u8, http: &str| (socks, 91, http.to_owned());
    let no_name = Server::start(|query| vec![Answers(query.fails(NXDOMAIN).soa(60))]).await;
    let no_data = Server::start(|query| vec![Answers(query.reply().soa(60))]).await;
    let broken = Server::start(|query| vec![Answers(query.fails(SERVFAIL))]).await;
    let silent = Server::start(|_| vec![]).await;
    for (server, hears) in [
        (no_name, expected(4, "502")),
        (no_data, expected(4, "502")),
        (broken, expected(1, "502")),
        (silent, expected(6, "504")),
    ] {
        assert_eq!(all_hear(&resolver(&[&server]), "db.example").await, hears);
    }
}

#[tokio::test]
async fn what_is_truncated_is_asked_for_over_tcp() {
    let server = Server::start(|query| {
        if query.kind == A && !query.over_tcp {
            let mut reply = query.reply();
            reply.truncated = true;
            return vec![Answers(reply)];
        }
        v4(HERE)(query)
    })
    .await;
    assert_eq!(
        found(&resolver(&[&server]), "db.example").await,
        ["11.0.0.1"]
    );
    assert_eq!(server.asked("db.example", A), 2);
}

#[tokio::test]
async fn a_truncating_server_without_tcp_has_failed_and_not_the_name() {
    let truncating = Server::without_tcp(|query| {
        let mut reply = query.reply();
        reply.truncated = true;
        vec![Answers(reply)]
    })
    .await;
    assert_eq!(
        socks5(&resolver(&[&truncating]), "db.example").await,
        (vec![], 1)
    );
    // Another's answer over UDP is as good as any.
    let good = Server::without_tcp(v4(HERE)).await;
    let both = resolver(&[&truncating, &good]);
    assert_eq!(found(&both, "db.example").await, ["11.0.0.1"]);
}

#[tokio::test]
async fn aliases_are_followed_and_in_a_loop_there_is_no_address() {
    let server = Server::start(|query| {
        if query.kind != A {
            return vec![Answers(query.reply().soa(60))];
        }
        let reply = query.reply();
        vec![Answers(match query.name.as_str() {
            "chain.example" => reply
                .record("chain.example", CNAME, 60, &name("a.example"))
                // In no order, and with somebody else's address.
                .record("c.example", A, 60, &HERE)
                .record("b.example", CNAME, 60, &name("c.example"))
                .record("stranger.example", A, 60, &[11, 6, 6, 6])
                .record("a.example", CNAME, 60, &name("b.example")),
            "loop.example" => reply
                .record("loop.example", CNAME, 60, &name("a.example"))
                .record("a.example", CNAME, 60, &name("loop.example")),
            "self.example" => reply.record("self.example", CNAME, 60, &name("self.example")),
            // An alias of a name that is not there.
            _ => query
                .fails(NXDOMAIN)
                .record(&query.name, CNAME, 60, &name("gone.example"))
                .soa(60),
        })]
    })
    .await;
    let resolver = resolver(&[&server]);
    assert_eq!(found(&resolver, "chain.example").await, ["11.0.0.1"]);
    for name in ["loop.example", "self.example", "to-nowhere.example"] {
        assert_eq!(socks5(&resolver, name).await, (vec![], 4), "{name}");
    }
}

#[tokio::test]
async fn a_hundred_addresses_are_all_handed_on() {
    let server = Server::start(|query| {
        let mut reply = query.reply();
        if query.kind == A {
            // They do not fit a datagram.
            reply.truncated = !query.over_tcp;
            for last in (1..=100).filter(|_| query.over_tcp) {
                reply = reply.record(&query.name, A, 60, &[11, 0, 0, last]);
            }
        } else {
            reply = reply.soa(60);
        }
        vec![Answers(reply)]
    })
    .await;
    let (dialled, _) = socks5(&resolver(&[&server]), "many.example").await;
    assert_eq!(dialled.len(), 100);
}

#[tokio::test]
async fn a_time_to_live_of_0_or_of_2_to_the_31_is_none() {
    for (ttl, times) in [
        (0, 3),
        (1 << 31, 3),
        (u32::MAX, 3),
        (60, 1),
        ((1 << 31) - 1, 1),
    ] {
        let server = Server::start(move |query| {
            vec![Answers(match query.kind {
                A => query.reply().record(&query.name, A, ttl, &HERE),
                _ => query.reply().soa(60),
            })]
        })
        .await;
        let resolver = resolver(&[&server]);
        for _ in 0..3 {
            assert_eq!(socks5(&resolver, "db.example").await.1, 0);
        }
        assert_eq!(server.asked("db.example", A), times, "{ttl}");
    }
}

#[tokio::test]
async fn an_alias_that_holds_shorter_bounds_what_is_behind_it() {
    let server = Server::start(|query| {
        vec![Answers(match query.kind {
            A => query
                .reply()
                .record(&query.name, CNAME, 0, &name("a.example"))
                .record("a.example", A, 3600, &HERE),
            _ => query.reply().soa(60),
        })]
    })
    .await;
    let resolver = resolver(&[&server]);
    for _ in 0..2 {
        look_up(&resolver, "db.example").await.unwrap();
    }
    assert_eq!(server.asked("db.example", A), 2);
}

#[tokio::test]
async fn a_denied_address_is_denied_from_the_cache_too() {
    let server = Server::start(v4([10, 0, 0, 1])).await;
    let resolver = resolver(&[&server]);
    for _ in 0..3 {
        assert_eq!(socks5(&resolver, "inside.example").await, (vec![], 2));
    }
    assert_eq!(server.asked("inside.example", A), 1);
}

#[tokio::test]
async fn that_a_name_is_not_there_is_remembered_if_its_zone_says_so() {
    let zone_says = Server::start(|query| vec![Answers(query.fails(NXDOMAIN).soa(60))]).await;
    let zone_does_not = Server::start(|query| vec![Answers(query.fails(NXDOMAIN))]).await;
    for (server, times) in [(zone_says, 1), (zone_does_not, 2)] {
        let resolver = resolver(&[&server]);
        for _ in 0..2 {
            let error = look_up(&resolver, "db.example").await.unwrap_err();
            let error = error.downcast_ref::<LookupError>();
            assert!(matches!(error, Some(LookupError::NotFound { .. })));
        }
        let asked = server
            .asked("db.example", A)
            .max(server.asked("db.example", AAAA));
        assert_eq!(asked, times);
    }
}

#[tokio::test]
async fn one_family_does_not_wait_for_the_other_s_silence() {
    let server = Server::start(|query| match query.kind {
        A => vec![Answers(query.addr(HERE))],
        _ => vec![],
    })
    .await;
    let resolver = resolver(&[&server]).with_timeout(Duration::from_secs(20));
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(found(&resolver, "db.example").await, ["11.0.0.1"]);
        // 50 ms for the first, and nothing for those that come while it is still waited
        // for; far from the 20 s.
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(server.asked("db.example", A), 1);
}

#[tokio::test]
async fn the_family_that_is_late_is_there_for_the_next() {
    let server = Server::start(|query| match query.kind {
        A => vec![Answers(query.addr(HERE))],
        _ => vec![
            Waits(Duration::from_millis(300)),
            Answers(query.reply().record(&query.name, AAAA, 60, &v6(1))),
        ],
    })
    .await;
    let resolver = resolver(&[&server]).with_timeout(Duration::from_secs(20));
    assert_eq!(found(&resolver, "db.example").await, ["11.0.0.1"]);
    while found(&resolver, "db.example").await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.asked("db.example", AAAA), 1);
}

#[tokio::test]
async fn a_family_is_not_asked_for_that_is_not_used() {
    let server = Server::start(|query| {
        vec![Answers(match query.kind {
            A => query.addr(HERE),
            _ => query.reply().record(&query.name, AAAA, 60, &v6(1)),
        })]
    })
    .await;
    for (family, expected, asked) in [
        (Family::Ipv4, &["11.0.0.1"][..], [1, 0]),
        (Family::Ipv6, &["2001:db8::1"], [0, 1]),
        (Family::PreferIpv4, &["11.0.0.1", "2001:db8::1"], [1, 1]),
        (Family::PreferIpv6, &["2001:db8::1", "11.0.0.1"], [1, 1]),
    ] {
        let before = [A, AAAA].map(|kind| server.asked("db.example", kind));
        let resolver = resolver(&[&server]).with_family(family);
        assert_eq!(found(&resolver, "db.example").await, expected, "{family:?}");
        let after = [A, AAAA].map(|kind| server.asked("db.example", kind));
        assert_eq!(
            [after[0] - before[0], after[1] - before[1]],
            asked,
            "{family:?}"
        );
    }
}

#[tokio::test]
async fn no_server_is_asked_for_names_that_are_nobody_s() {
    let server = Server::start(v4(HERE)).await;
    let resolver = resolver(&[&server]);
    for name in ["localhost", "localhost.", "foo.localhost", "Foo.LocalHost."] {
        let found = look_up(&resolver, name).await.unwrap();
        assert!(found.iter().all(std::net::IpAddr::is_loopback), "{name}");
        assert_eq!(socks5(&resolver, name).await, (vec![], 2), "{name}");
    }
    for name in ["a.onion", "a.onion.", "b.invalid", "b.Invalid."] {
        assert_eq!(socks5(&resolver, name).await, (vec![], 4), "{name}");
    }
    // Literals, in any spelling.
    for name in ["11.0.0.9", "0xb.9", "184549385", "11.0.0.9."] {
        let addr = "11.0.0.9:80".parse().unwrap();
        assert_eq!(socks5(&resolver, name).await, (vec![addr], 0), "{name}");
    }
    assert_eq!(server.asked_at_all(), 0);
}

#[tokio::test]
async fn search_domains_are_tried_but_for_a_name_with_a_dot_at_its_end() {
    let server = Server::start(|query| {
        if query.name == "db.corp.example" {
            return v4(HERE)(query);
        }
        vec![Answers(query.fails(NXDOMAIN).soa(60))]
    })
    .await;
    let domain = "corp.example".parse().unwrap();
    let resolver = resolver(&[&server]).with_search([domain], 1);
    assert_eq!(found(&resolver, "db").await, ["11.0.0.1"]);
    assert_eq!(server.asked("db", A), 0);
    assert_eq!(socks5(&resolver, "db.").await, (vec![], 4));
    assert_eq!(server.asked("db", A), 1);
}

#[tokio::test]
async fn a_stale_answer_is_given_while_the_servers_are_down() {
    let server = Server::start(|query| {
        vec![Answers(match query.kind {
            A => query.reply().record(&query.name, A, 1, &HERE),
            _ => query.reply().soa(1),
        })]
    })
    .await;
    let cache = CacheLayer::new().with_stale(Duration::from_secs(60));
    let stale = resolver(&[&server]).with_cache(cache);
    let strict = resolver(&[&server]);
    for resolver in [&stale, &strict] {
        look_up(resolver, "db.example").await.unwrap();
    }
    drop(server);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(socks5(&stale, "db.example").await.1, 0);
    assert_ne!(socks5(&strict, "db.example").await.1, 0);
}

#[cfg(feature = "dnssec")]
#[tokio::test]
async fn what_is_not_signed_by_the_root_s_keys_is_no_answer_if_it_must_be() {
    let server = Server::start(v4(HERE)).await;
    let believing = resolver(&[&server]);
    assert_eq!(found(&believing, "db.example").await, ["11.0.0.1"]);
    let validating = believing
        .with_dnssec(true)
        .with_timeout(Duration::from_secs(20));
    assert_eq!(socks5(&validating, "db.example").await, (vec![], 1));
}

#[tokio::test]
async fn addresses_have_their_names() {
    use socks_tower::{Command, Request, Session};
    use tower::ServiceExt;

    let server = Server::start(|query| {
        let reply = query.reply();
        vec![Answers(match (query.name.as_str(), query.kind) {
            ("7.2.0.192.in-addr.arpa", PTR) => {
                reply.record(&query.name, PTR, 60, &name("db.example"))
            }
            // It would read as another address.
            ("8.2.0.192.in-addr.arpa", PTR) => {
                reply.record(&query.name, PTR, 60, &name("127.0.0.1"))
            }
            _ => query.fails(NXDOMAIN).soa(60),
        })]
    })
    .await;
    let reverse = resolver(&[&server]).reverse();
    let names = async |ip: &str| {
        let asked = Request::new(Session::new(), Command::RESOLVE_PTR, ip.parse().unwrap());
        reverse.clone().oneshot(asked).await
    };
    assert_eq!(names("192.0.2.7").await.unwrap()[0].as_str(), "db.example");
    assert_eq!(names("::ffff:192.0.2.7").await.unwrap().len(), 1);
    for none in ["192.0.2.8", "192.0.2.9"] {
        let error = names(none).await.unwrap_err();
        assert!(matches!(error, LookupError::NotFound { .. }), "{error:?}");
    }
}
