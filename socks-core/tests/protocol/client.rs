//! The client's machine: what it sends, and what it makes of any server.

use socks_core::{
    Credentials, DecodeError, Decoded, Target,
    client::{Client, Error, Event, FailureCode, Offer, TargetError},
    v4::{self, UserId},
    v5::{Command, Method, ReplyCode},
};

use crate::{named, target};

const CONNECT: Command = Command::CONNECT;

fn joe() -> Credentials {
    Credentials::new("joe", "secret").unwrap()
}

fn started(mut client: Client) -> (Client, Vec<u8>) {
    let mut out = Vec::new();
    client.start(&mut out).unwrap();
    (client, out)
}

/// Gives `input` to the client, which takes it all: the event, and what it
/// sends then.
fn receive(client: &mut Client, input: &[u8]) -> Result<(Event, Vec<u8>), Error> {
    let mut out = Vec::new();
    match client.receive(input, &mut out)? {
        Decoded::Complete { message, consumed } => {
            assert_eq!(consumed, input.len());
            Ok((message, out))
        }
        Decoded::Incomplete { needed } => panic!("needs {needed} more"),
    }
}

#[test]
fn a_connection_is_asked_for_without_authentication() {
    let (mut client, out) = started(Client::v5(Offer::none(), CONNECT, named("a.b", 80)));
    assert_eq!(out, b"\x05\x01\x00");
    assert_eq!(
        receive(&mut client, b"\x05\x00"),
        Ok((Event::Advanced, b"\x05\x01\0\x03\x03a.b\0\x50".to_vec()))
    );
    assert_eq!(
        receive(&mut client, b"\x05\0\0\x01\xc0\0\x02\x07\x1f\x90"),
        Ok((Event::Granted(target("192.0.2.7:8080")), vec![]))
    );
    assert_eq!(receive(&mut client, b""), Err(Error::OutOfTurn));
}

#[test]
fn a_password_is_sent_when_it_is_asked_for() {
    let offer = Offer::password(joe()).or(Offer::none());
    let (mut client, out) = started(Client::v5(offer, CONNECT, Target::UNSPECIFIED));
    assert_eq!(out, b"\x05\x02\x02\x00");
    assert_eq!(
        receive(&mut client, b"\x05\x02"),
        Ok((Event::Advanced, b"\x01\x03joe\x06secret".to_vec()))
    );
    assert_eq!(
        receive(&mut client, b"\x01\x00"),
        Ok((Event::Advanced, b"\x05\x01\0\x01\0\0\0\0\0\0".to_vec()))
    );
}

#[test]
fn a_rejected_password_ends_the_session_before_the_request() {
    for status in [1, 2, 0xff] {
        let offer = Offer::password(joe());
        let (mut client, _) = started(Client::v5(offer, CONNECT, Target::UNSPECIFIED));
        receive(&mut client, b"\x05\x02").unwrap();
        assert_eq!(
            receive(&mut client, &[1, status]),
            Err(Error::CredentialsRejected { status })
        );
        assert_eq!(receive(&mut client, b"\x01\x00"), Err(Error::OutOfTurn));
    }
}

#[test]
fn a_method_of_the_callers_gets_the_stream() {
    let method = Method(0x80);
    let (mut client, out) = started(Client::v5(Offer::method(method), CONNECT, named("a", 1)));
    assert_eq!(out, b"\x05\x01\x80");
    let mut out = Vec::new();
    assert_eq!(client.authenticated(&mut out), Err(Error::OutOfTurn));
    assert_eq!(
        receive(&mut client, b"\x05\x80"),
        Ok((Event::MethodSelected(method), vec![]))
    );
    assert_eq!(
        client.receive(b"token", &mut out),
        Err(Error::OutOfTurn),
        "the stream is the method's"
    );
    client.authenticated(&mut out).unwrap();
    assert_eq!(out, b"\x05\x01\0\x03\x01a\0\x01");
    assert_eq!(client.authenticated(&mut out), Err(Error::OutOfTurn));
}

#[test]
fn passwords_can_be_negotiated_by_the_caller() {
    let offer = Offer::method(Method::USERNAME_PASSWORD);
    let (mut client, _) = started(Client::v5(offer, CONNECT, named("a", 1)));
    assert_eq!(
        receive(&mut client, b"\x05\x02").unwrap().0,
        Event::MethodSelected(Method::USERNAME_PASSWORD)
    );
}

#[test]
fn an_offer_holds_each_method_once_and_no_refusal() {
    let offer = Offer::none()
        .or(Offer::password(joe()))
        .or(Offer::none())
        .or(Offer::method(Method::NO_ACCEPTABLE))
        .or(Offer::method(Method::GSSAPI));
    let methods: Vec<u8> = offer.methods().map(|method| method.0).collect();
    assert_eq!(methods, [0, 2, 1]);
}

#[test]
fn a_selection_of_what_was_not_offered_is_refused() {
    for (selected, error) in [
        (Method::NO_ACCEPTABLE, Error::NoAcceptableMethod),
        (Method::NONE, Error::MethodNotOffered(Method::NONE)),
        (Method::GSSAPI, Error::MethodNotOffered(Method::GSSAPI)),
        (Method(0x80), Error::MethodNotOffered(Method(0x80))),
    ] {
        let clients = [
            Client::v5(Offer::password(joe()), CONNECT, Target::UNSPECIFIED),
            Client::v5_in_one_flight(Some(joe()), CONNECT, Target::UNSPECIFIED),
        ];
        for client in clients {
            let (mut client, _) = started(client);
            assert_eq!(receive(&mut client, &[5, selected.0]), Err(error.clone()));
        }
    }
}

#[test]
fn one_flight_holds_all_there_is_to_say() {
    let target = named("a", 1);
    let (mut client, out) = started(Client::v5_in_one_flight(
        Some(joe()),
        CONNECT,
        target.clone(),
    ));
    assert_eq!(
        out,
        b"\x05\x01\x02\x01\x03joe\x06secret\x05\x01\0\x03\x01a\0\x01"
    );
    let nothing_more = Ok((Event::Advanced, vec![]));
    assert_eq!(receive(&mut client, b"\x05\x02"), nothing_more);
    assert_eq!(receive(&mut client, b"\x01\x00"), nothing_more);
    let (event, _) = receive(&mut client, b"\x05\0\0\x01\0\0\0\0\0\0").unwrap();
    assert_eq!(event, Event::Granted(Target::UNSPECIFIED));

    let (mut client, out) = started(Client::v5_in_one_flight(None, CONNECT, target));
    assert_eq!(out, b"\x05\x01\x00\x05\x01\0\x03\x01a\0\x01");
    assert_eq!(receive(&mut client, b"\x05\x00"), nothing_more);
}

#[test]
fn what_follows_the_reply_is_left_to_the_caller() {
    let (mut client, _) = started(Client::v5(Offer::none(), CONNECT, named("a", 1)));
    let mut out = Vec::new();
    let input = b"\x05\x00\x05\0\0\x01\0\0\0\0\0\0SSH-2.0-";
    let Ok(Decoded::Complete { consumed: 2, .. }) = client.receive(input, &mut out) else {
        panic!("a selection")
    };
    let Ok(Decoded::Complete { consumed: 10, .. }) = client.receive(&input[2..], &mut out) else {
        panic!("a reply")
    };
}

#[test]
fn bind_is_answered_twice() {
    let expected = target("192.0.2.7:0");
    let v4 = Client::v4(UserId::default(), Command::BIND, expected.clone()).unwrap();
    let (mut client, out) = started(v4);
    assert_eq!(out, b"\x04\x02\0\0\xc0\0\x02\x07\0");
    let listens = receive(&mut client, b"\0\x5a\x1f\x90\0\0\0\0").unwrap();
    assert_eq!(listens.0, Event::Granted(target("0.0.0.0:8080")));
    let came = receive(&mut client, b"\0\x5a\x04\xd2\xc0\0\x02\x07").unwrap();
    assert_eq!(came.0, Event::Accepted(target("192.0.2.7:1234")));
    assert_eq!(receive(&mut client, b""), Err(Error::OutOfTurn));

    let (mut client, _) = started(Client::v5(Offer::none(), Command::BIND, expected));
    receive(&mut client, b"\x05\x00").unwrap();
    receive(&mut client, b"\x05\0\0\x01\0\0\0\0\x1f\x90").unwrap();
    assert_eq!(
        receive(&mut client, b"\x05\x06\0\x01\0\0\0\0\0\0"),
        Err(Error::Refused(FailureCode::V5(ReplyCode::TTL_EXPIRED))),
        "nobody came"
    );
}

#[test]
fn a_refusal_keeps_its_code() {
    for code in (1..=8).chain(0xf0..=0xf7).chain([9, 0xff]).map(ReplyCode) {
        let (mut client, _) = started(Client::v5(Offer::none(), CONNECT, named("a", 1)));
        receive(&mut client, b"\x05\x00").unwrap();
        let refusal = FailureCode::V5(code);
        assert_eq!(refusal.reply_code(), code);
        assert_eq!(
            receive(&mut client, &[5, code.0, 0, 1, 0, 0, 0, 0, 0, 0]),
            Err(Error::Refused(refusal))
        );
    }
    for code in [0, 91, 92, 93, 0xff].map(v4::ReplyCode) {
        let client = Client::v4(UserId::default(), CONNECT, target("192.0.2.7:1"));
        let (mut client, _) = started(client.unwrap());
        let refusal = FailureCode::V4(code);
        assert_eq!(refusal.reply_code(), ReplyCode::GENERAL_FAILURE);
        assert_eq!(
            receive(&mut client, &[0, code.0, 0, 0, 0, 0, 0, 0]),
            Err(Error::Refused(refusal))
        );
    }
}

#[test]
fn a_refusal_is_known_by_its_first_two_bytes() {
    // Some servers send three bytes of it, or two, and keep the line open.
    let (mut client, _) = started(Client::v5(Offer::none(), CONNECT, named("a", 1)));
    receive(&mut client, b"\x05\x00").unwrap();
    let refused = Error::Refused(FailureCode::V5(ReplyCode::CONNECTION_REFUSED));
    assert_eq!(
        client.receive(b"", &mut Vec::new()),
        Ok(Decoded::Incomplete { needed: 2 })
    );
    assert_eq!(
        client.receive(b"\x05", &mut Vec::new()),
        Ok(Decoded::Incomplete { needed: 1 })
    );
    for input in [
        &b"\x05\x05"[..],
        b"\x05\x05\0",
        b"\x05\x05\0\0",
        b"\x05\x05\0\x02",
    ] {
        assert_eq!(receive(&mut client.clone(), input), Err(refused.clone()));
    }
    assert_eq!(refused.to_string(), "server refused: connection refused");
}

#[test]
fn a_success_is_known_by_its_last_byte() {
    let (mut client, _) = started(Client::v5(Offer::none(), CONNECT, named("a", 1)));
    receive(&mut client, b"\x05\x00").unwrap();
    let reply = b"\x05\0\0\x03\x03a.b\0\x50";
    for len in 0..reply.len() {
        let decoded = client.receive(&reply[..len], &mut Vec::new());
        assert!(matches!(decoded, Ok(Decoded::Incomplete { .. })), "{len}");
    }
    let (event, _) = receive(&mut client, reply).unwrap();
    assert_eq!(event, Event::Granted(named("a.b", 80)));
}

#[test]
fn a_server_of_another_kind_is_found_out() {
    let version = |expected, found| Error::Decode(DecodeError::Version { expected, found });
    for found in [0, 4, b'H', 0xff] {
        let (mut client, _) = started(Client::v5(Offer::none(), CONNECT, named("a", 1)));
        assert_eq!(receive(&mut client, &[found]), Err(version(5, found)));

        let offer = Offer::password(joe());
        let (mut client, _) = started(Client::v5(offer, CONNECT, named("a", 1)));
        receive(&mut client, b"\x05\x02").unwrap();
        assert_eq!(receive(&mut client, &[found]), Err(version(1, found)));

        let (mut client, _) = started(Client::v5(Offer::none(), CONNECT, named("a", 1)));
        receive(&mut client, b"\x05\x00").unwrap();
        assert_eq!(receive(&mut client, &[found, 5]), Err(version(5, found)));
    }
    for found in [4, 5, b'H'] {
        let client = Client::v4(UserId::default(), CONNECT, target("192.0.2.7:1"));
        let (mut client, _) = started(client.unwrap());
        assert_eq!(receive(&mut client, &[found, 91]), Err(version(0, found)));
    }
}

#[test]
fn socks4_says_what_it_cannot_reach_before_anything_is_sent() {
    let v4 = |target| Client::v4(UserId::default(), CONNECT, target).map(|_| ());
    let v4a = |target| Client::v4a(UserId::default(), CONNECT, target).map(|_| ());

    assert_eq!(v4(target("192.0.2.7:1")), Ok(()));
    assert_eq!(v4(target("0.0.0.0:1")), Ok(()));
    assert_eq!(v4(target("[::ffff:192.0.2.7]:1")), Ok(()));
    assert_eq!(v4(named("a", 1)), Err(TargetError::Name));
    assert_eq!(v4(target("[::1]:1")), Err(TargetError::Ipv6));
    assert_eq!(v4(target("0.0.0.1:1")), Err(TargetError::Reserved));

    assert_eq!(v4a(target("192.0.2.7:1")), Ok(()));
    assert_eq!(v4a(named("a", 1)), Ok(()));
    assert_eq!(v4a(target("0.0.0.1:1")), Ok(()));
    assert_eq!(v4a(target("[::1]:1")), Err(TargetError::Ipv6));
}

#[test]
fn a_session_begins_once() {
    let mut client = Client::v5(Offer::none(), CONNECT, named("a", 1));
    let mut out = Vec::new();
    assert_eq!(client.receive(b"\x05\x00", &mut out), Err(Error::OutOfTurn));
    client.start(&mut out).unwrap();
    assert_eq!(client.start(&mut out), Err(Error::OutOfTurn));
    assert_eq!(out, b"\x05\x01\x00");
}

#[test]
fn a_client_prints_without_its_password() {
    let client = Client::v5_in_one_flight(Some(joe()), CONNECT, named("a", 1));
    assert!(!format!("{client:?}").contains("secret"));
}

/// A reader that reads as much as it is told at once never reads past the reply.
#[test]
fn no_read_takes_what_is_behind_the_last_reply() {
    let socks5 = |offer| Client::v5(offer, CONNECT, named("a.b", 80));
    let in_one_flight = |who| Client::v5_in_one_flight(who, CONNECT, named("a.b", 80));
    let granted = b"\x05\0\0\x01\xc0\0\x02\x07\x1f\x90";
    let unnamed = b"\x05\0\0\x03\0\x1f\x90";
    let with_password = [b"\x05\x02\x01\0", &granted[..]].concat();
    for (client, answers) in [
        (socks5(Offer::none()), [b"\x05\0", &granted[..]].concat()),
        (socks5(Offer::none()), [b"\x05\0", &unnamed[..]].concat()),
        (
            socks5(Offer::password(joe()).or(Offer::none())),
            with_password.clone(),
        ),
        (in_one_flight(Some(joe())), with_password),
        (in_one_flight(None), [b"\x05\0", &granted[..]].concat()),
        (
            Client::v4a(UserId::default(), CONNECT, named("a.b", 80)).unwrap(),
            b"\0\x5a\x1f\x90\xc0\0\x02\x07".to_vec(),
        ),
    ] {
        let (mut client, mut out) = started(client);
        let (mut input, mut at, mut reads) = (Vec::new(), 0, 0);
        loop {
            match client.receive(&input, &mut out).unwrap() {
                Decoded::Complete { message, consumed } => {
                    input.drain(..consumed);
                    if let Event::Granted(_) = message {
                        break;
                    }
                }
                Decoded::Incomplete { needed } => {
                    let most = client.min_remaining().saturating_sub(input.len());
                    let end = at + most.max(needed);
                    input.extend(&answers[at..end]);
                    (at, reads) = (end, reads + 1);
                }
            }
        }
        assert!(input.is_empty());
        assert_eq!(at, answers.len());
        assert!(reads <= 3, "{reads}");
    }
}
