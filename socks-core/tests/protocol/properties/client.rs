//! What holds for the client's machine, whatever a server sends.

use socks_core::{
    Credentials, Decode, Decoded, Host, Target,
    client::{Client, Error, Event, Offer},
    v4::{self, UserId},
    v5::{Command, Greeting, Method, PasswordRequest, Request},
};

use super::feed::{Arrival, Feed};

/// What a session came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<Event>,
    error: Option<Error>,
    out: Vec<u8>,
    taken: usize,
}

/// Asks a server that sends all of `input` but the first byte, which says what
/// for and how. However the bytes arrive, it comes to the same.
pub(crate) fn check(input: &[u8]) {
    let [setup, bytes @ ..] = input else { return };
    let [whole, single, as_needed] =
        Arrival::ALL.map(|arrival| ask(client(*setup), Feed::new(bytes, arrival)));
    assert_eq!(whole, single);
    assert_eq!(whole, as_needed);
    check_sent(&whole.out);
}

fn client(setup: u8) -> Client {
    let credentials = Credentials::new("joe", "secret").unwrap();
    let command = [
        Command::CONNECT,
        Command::BIND,
        Command::UDP_ASSOCIATE,
        Command::RESOLVE,
    ][usize::from(setup >> 3 & 3)];
    let name = Target::new(Host::Name("example.com".parse().unwrap()), 443);
    let ip = Target::new(Host::Ip([192, 0, 2, 7].into()), 80);
    let target = if setup & 0x20 == 0 { name } else { ip.clone() };
    let private = Offer::method(Method(0x80));
    match setup & 7 {
        0 => Client::v4(UserId::default(), command, ip).unwrap(),
        1 => Client::v4a(UserId::default(), command, target).unwrap(),
        2 => Client::v5(Offer::none(), command, target),
        3 => Client::v5(Offer::password(credentials), command, target),
        4 => Client::v5_in_one_flight(None, command, target),
        5 => Client::v5_in_one_flight(Some(credentials), command, target),
        6 => Client::v5(private.or(Offer::none()), command, target),
        _ => {
            let offer = Offer::none().or(Offer::password(credentials)).or(private);
            Client::v5(offer, command, target)
        }
    }
}

fn ask(mut client: Client, mut feed: Feed<'_>) -> Outcome {
    let mut events = Vec::new();
    let mut error = None;
    let mut out = Vec::new();
    client.start(&mut out).unwrap();
    while let Some(received) = feed.next(|input| client.receive(input, &mut out)) {
        match received {
            Ok(event) => {
                if let Event::MethodSelected(method) = event {
                    assert_eq!(method, Method(0x80));
                    client.authenticated(&mut out).unwrap();
                }
                events.push(event);
            }
            // The wait for what cannot come ends here, too.
            Err(wrong) => {
                error = Some(wrong);
                let written = out.len();
                assert_eq!(client.receive(&[], &mut out), Err(Error::OutOfTurn));
                assert_eq!(client.authenticated(&mut out), Err(Error::OutOfTurn));
                assert_eq!(client.start(&mut out), Err(Error::OutOfTurn));
                assert_eq!(out.len(), written);
                break;
            }
        }
    }
    assert!(events.len() <= 4);
    Outcome {
        events,
        error,
        out,
        taken: feed.taken,
    }
}

/// Whatever the server does, what it hears is well-formed and whole.
fn check_sent(mut out: &[u8]) {
    if out.first() == Some(&v4::VERSION) {
        skip::<v4::Request>(&mut out);
    } else {
        skip::<Greeting>(&mut out);
        if out.first() == Some(&1) {
            skip::<PasswordRequest>(&mut out);
        }
        if !out.is_empty() {
            skip::<Request>(&mut out);
        }
    }
    assert!(out.is_empty());
}

fn skip<T: Decode>(out: &mut &[u8]) {
    match T::decode(out) {
        Ok(Decoded::Complete { consumed, .. }) => *out = &out[consumed..],
        _ => panic!("not well-formed: {}", out.escape_ascii()),
    }
}
