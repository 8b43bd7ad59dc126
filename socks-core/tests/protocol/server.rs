//! The server's machine: turns, versions, and the words of its answers.

use socks_core::{
    DecodeError, Decoded, Target,
    server::{Error, Event, Server, Version, Versions, reply},
    v5::{Method, ReplyCode},
};

use crate::{named, target};

fn receive(server: &mut Server, input: &[u8]) -> Event {
    match server.receive(input) {
        Ok(Decoded::Complete { message, consumed }) if consumed == input.len() => message,
        other => panic!("{other:?}"),
    }
}

/// What a server of `versions` answers to the first bytes of a client.
fn answer(versions: Versions, input: &[u8]) -> (Error, Vec<u8>) {
    let mut server = Server::new(versions);
    let error = server.receive(input).unwrap_err();
    let mut out = Vec::new();
    server.answer(&error, &mut out);
    assert_eq!(server.receive(input), Err(Error::OutOfTurn));
    (error, out)
}

#[test]
fn a_version_that_is_not_served_is_refused_in_its_own_words() {
    assert_eq!(
        answer(Versions::SOCKS4, b"\x05"),
        (Error::VersionNotServed(5), b"\x05\xff".to_vec())
    );
    assert_eq!(
        answer(Versions::SOCKS5, b"\x04"),
        (Error::VersionNotServed(4), b"\0\x5b\0\0\0\0\0\0".to_vec())
    );
}

#[test]
fn what_is_not_socks_is_told_so_if_it_would_understand() {
    for method in [
        "GET", "HEAD", "POST", "CONNECT", "OPTIONS", "DELETE", "TRACE", "PUT",
    ] {
        let (error, out) = answer(Versions::ALL, method.as_bytes());
        assert!(error.to_string().contains("HTTP?"), "{error}");
        assert!(out.starts_with(b"HTTP/1.0 400 "), "{method}");
    }
    for (first, hint) in [(0x16, "TLS?"), (b'S', "SSH?"), (0, "0x00"), (6, "0x06")] {
        let (error, out) = answer(Versions::ALL, &[first]);
        assert_eq!(error, Error::NotSocks(first));
        assert!(error.to_string().contains(hint), "{error}");
        assert_eq!(out, b"");
    }
}

#[test]
fn a_malformed_socks4_request_is_rejected_in_socks4() {
    let (_, out) = answer(Versions::ALL, b"\x04\x01\0\x50\0\0\0\x01\0a b\0");
    assert_eq!(out, b"\0\x5b\0\0\0\0\0\0");
}

#[test]
fn a_malformed_socks5_request_is_answered_with_its_code() {
    for (request, code) in [
        (&b"\x05\x01\x00\x02"[..], 8),
        (b"\x05\x01\x00\x00", 8),
        (b"\x05\x01\x00\x03\x00", 1),
        (b"\x01", 1),
    ] {
        let mut server = Server::new(Versions::ALL);
        let mut out = Vec::new();
        receive(&mut server, b"\x05\x01\x00");
        server.select(Method::NONE, &mut out).unwrap();
        server.authenticated().unwrap();
        out.clear();

        let error = server.receive(request).unwrap_err();
        assert!(matches!(error, Error::Decode(_)));
        server.answer(&error, &mut out);
        assert_eq!(out, [5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn nothing_is_answered_in_the_middle_of_a_method() {
    let mut server = Server::new(Versions::ALL);
    let mut out = Vec::new();
    receive(&mut server, b"\x05\x01\x02");
    server.select(Method::USERNAME_PASSWORD, &mut out).unwrap();
    out.clear();
    let (expected, found) = (1, 5);
    let error = DecodeError::Version { expected, found };
    server.answer(&Error::Decode(error), &mut out);
    assert_eq!(out, b"");
}

#[test]
fn each_turn_comes_once_and_in_its_order() {
    let none = &Target::UNSPECIFIED;
    let out = &mut Vec::new();
    // Which of the calls, in this order, are in turn.
    let turns = |server: &Server| {
        let out = &mut Vec::new();
        [
            server.clone().receive(b"") != Err(Error::OutOfTurn),
            server.clone().select(Method::NONE, out).is_ok(),
            server.clone().refuse_methods(out).is_ok(),
            server.clone().authenticated().is_ok(),
            server.clone().grant(none, out).is_ok(),
            server
                .clone()
                .refuse(ReplyCode::GENERAL_FAILURE, out)
                .is_ok(),
        ]
    };
    let (f, t) = (false, true);

    let mut server = Server::new(Versions::ALL);
    assert_eq!(turns(&server), [t, f, f, f, f, f]);
    receive(&mut server, b"\x05\x01\x00");
    assert_eq!(turns(&server), [f, t, t, f, f, f]);
    let mut refused = server.clone();
    refused.refuse_methods(out).unwrap();
    assert_eq!(turns(&refused), [f; 6]);
    server.select(Method::NONE, out).unwrap();
    assert_eq!(turns(&server), [f, f, f, t, f, f]);
    server.authenticated().unwrap();
    assert_eq!(turns(&server), [t, f, f, f, f, f]);
    receive(&mut server, b"\x05\x02\x00\x01\0\0\0\0\0\0");
    assert_eq!(turns(&server), [f, f, f, f, t, t]);
    server.grant(none, out).unwrap();
    assert_eq!(turns(&server), [f, f, f, f, t, t], "BIND's second reply");
    server.grant(none, out).unwrap();
    assert_eq!(turns(&server), [f; 6]);
}

#[test]
fn choosing_no_method_refuses_them_all() {
    let mut server = Server::new(Versions::ALL);
    let mut out = Vec::new();
    receive(&mut server, b"\x05\x00");
    server.select(Method::NO_ACCEPTABLE, &mut out).unwrap();
    assert_eq!(out, b"\x05\xff");
    assert_eq!(server.authenticated(), Err(Error::OutOfTurn));
}

#[test]
fn replies_say_what_their_version_can() {
    let written = |version, outcome: Result<&Target, ReplyCode>| {
        let mut out = Vec::new();
        reply(version, outcome, &mut out);
        out
    };
    let v4 = target("192.0.2.7:80");
    let v6 = target("[2001:db8::1]:80");
    let mapped = target("[::ffff:192.0.2.7]:80");
    let name = named("a", 80);

    for bound in [&v4, &mapped] {
        assert_eq!(
            written(Version::Socks5, Ok(bound)),
            b"\x05\0\0\x01\xc0\0\x02\x07\0\x50"
        );
        assert_eq!(
            written(Version::Socks4, Ok(bound)),
            b"\0\x5a\0\x50\xc0\0\x02\x07"
        );
    }
    for bound in [&v6, &name] {
        assert_eq!(
            written(Version::Socks4a, Ok(bound)),
            b"\0\x5a\0\x50\0\0\0\0"
        );
    }
    assert_eq!(
        written(Version::Socks5, Ok(&name)),
        b"\x05\0\0\x03\x01a\0\x50"
    );
    assert_eq!(written(Version::Socks5, Ok(&v6))[..4], *b"\x05\0\0\x04");

    let refused = Err(ReplyCode::CONNECTION_REFUSED);
    assert_eq!(
        written(Version::Socks5, refused),
        b"\x05\x05\0\x01\0\0\0\0\0\0"
    );
    assert_eq!(written(Version::Socks4, refused), b"\0\x5b\0\0\0\0\0\0");
    // Not even this one is a success.
    let refused = Err(ReplyCode::SUCCEEDED);
    assert_eq!(written(Version::Socks5, refused)[..2], *b"\x05\x01");
    assert_eq!(written(Version::Socks4, refused)[..2], *b"\0\x5b");
}

#[test]
fn a_socks4_request_tells_its_version_and_user() {
    for (input, version) in [
        (&b"\x04\x01\0\x50\xc0\0\x02\x07joe\0"[..], Version::Socks4),
        (b"\x04\x01\0\x50\0\0\0\x01joe\0a.b\0", Version::Socks4a),
        (b"\x04\x01\0\x50\0\0\0\x01joe\0::1\0", Version::Socks4a),
    ] {
        match receive(&mut Server::new(Versions::ALL), input) {
            Event::Request(request) => {
                assert_eq!(request.version, version);
                assert_eq!(request.user_id.unwrap().as_bytes(), b"joe");
            }
            other => panic!("{other:?}"),
        }
    }
}
