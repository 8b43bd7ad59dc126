//! What holds for the server's machine, whatever a client sends.

use socks_core::{
    Decode, Encode, Target,
    server::{Error, Event, Server, Versions},
    v5::{Command, Method, PasswordReply, PasswordRequest, ReplyCode},
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

/// Serves a client that sends all of `input` but the first byte, which says
/// how it is served. However the bytes arrive, it comes to the same.
pub(crate) fn check(input: &[u8]) {
    let [setup, bytes @ ..] = input else { return };
    let [whole, single, as_needed] =
        Arrival::ALL.map(|arrival| serve(*setup, Feed::new(bytes, arrival)));
    assert_eq!(whole, single);
    assert_eq!(whole, as_needed);
}

fn serve(setup: u8, mut feed: Feed<'_>) -> Outcome {
    let versions = [
        Versions::ALL,
        Versions::ALL,
        Versions::SOCKS4,
        Versions::SOCKS5,
    ];
    let mut server = Server::new(versions[usize::from(setup & 3)]);
    let method = [
        Method::NONE,
        Method::USERNAME_PASSWORD,
        Method(0x80),
        Method::NO_ACCEPTABLE,
    ][usize::from(setup >> 2 & 3)];
    let grants = setup & 0x10 == 0;

    let mut events = Vec::new();
    let mut error = None;
    let mut out = Vec::new();
    while let Some(received) = feed.next(|input| server.receive(input)) {
        match &received {
            Ok(Event::Greeting(_)) => {
                server.select(method, &mut out).unwrap();
                if method == Method::USERNAME_PASSWORD
                    && !matches!(feed.next(PasswordRequest::decode), Some(Ok(_)))
                {
                    break;
                }
                match method {
                    Method::NO_ACCEPTABLE => {
                        assert_eq!(server.authenticated(), Err(Error::OutOfTurn));
                    }
                    Method::USERNAME_PASSWORD => {
                        PasswordReply::SUCCESS.encode(&mut out);
                        server.authenticated().unwrap();
                    }
                    _ => server.authenticated().unwrap(),
                }
            }
            Ok(Event::Request(request)) => {
                if grants {
                    server.grant(&request.target, &mut out).unwrap();
                }
                if request.command == Command::BIND || !grants {
                    let code = ReplyCode((setup >> 5) + 1);
                    server.refuse(code, &mut out).unwrap();
                }
                let written = out.len();
                let again = server.grant(&Target::UNSPECIFIED, &mut out);
                assert_eq!(again, Err(Error::OutOfTurn));
                assert_eq!(out.len(), written);
            }
            Ok(other) => panic!("{other:?} is new"),
            Err(wrong) => {
                error = Some(wrong.clone());
                server.answer(wrong, &mut out);
            }
        }
        match received {
            Ok(event) => events.push(event),
            Err(_) => break,
        }
    }
    assert!(events.len() <= 2);
    Outcome {
        events,
        error,
        out,
        taken: feed.taken,
    }
}
