//! The client's machine against the server's, with no sockets between them.

use proptest::prelude::*;
use socks_core::{
    Credentials, Decode, Decoded, Encode, Host, Target,
    client::{Client, Error as ClientError, Event as ClientEvent, FailureCode, Offer},
    server::{Event, Request, Server, Version, Versions},
    v4::UserId,
    v5::{Command, Method, PasswordReply, PasswordRequest, ReplyCode},
};

use crate::{named, target};

const PRIVATE: Method = Method(0x80);
const HELLO: &[u8] = b"220 the target speaks first";
const PAYLOAD: &[u8] = b"and so does the client";

/// One direction of a connection on which so many bytes arrive at a time.
#[derive(Debug)]
struct Pipe {
    sent: Vec<u8>,
    arrived: Vec<u8>,
    at_a_time: usize,
}

impl Pipe {
    fn new(at_a_time: usize) -> Self {
        Self {
            sent: Vec::new(),
            arrived: Vec::new(),
            at_a_time,
        }
    }

    /// Lets the next bytes arrive, and says whether there were any.
    fn flow(&mut self) -> bool {
        let len = self.at_a_time.min(self.sent.len());
        self.arrived.extend(self.sent.drain(..len));
        len > 0
    }

    fn take<T, E>(
        &mut self,
        receive: impl FnOnce(&[u8]) -> Result<Decoded<T>, E>,
    ) -> Option<Result<T, E>> {
        match receive(&self.arrived) {
            Ok(Decoded::Complete { message, consumed }) => {
                self.arrived.drain(..consumed);
                Some(Ok(message))
            }
            Ok(Decoded::Incomplete { .. }) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// How the server treats its client.
#[derive(Clone, Debug)]
struct Policy {
    method: Method,
    password: &'static str,
    /// The answers, two for BIND.
    answers: Vec<Result<Target, ReplyCode>>,
}

/// A server at work: its machine, and what a stack around it would do.
struct Serving {
    machine: Server,
    policy: Policy,
    negotiating: bool,
    request: Option<Request>,
    closed: bool,
}

impl Serving {
    /// Takes one step, if what it needs for it has arrived.
    fn step(&mut self, from: &mut Pipe, out: &mut Vec<u8>) -> bool {
        if self.closed {
            return false;
        }
        if self.negotiating {
            return self.negotiate(from, out);
        }
        if self.request.is_some() {
            return self.answer(out);
        }
        let Some(event) = from.take(|input| self.machine.receive(input)) else {
            return false;
        };
        match event.unwrap() {
            Event::Greeting(greeting) if greeting.offers(self.policy.method) => {
                self.machine.select(self.policy.method, out).unwrap();
                self.negotiating = true;
            }
            Event::Greeting(_) => {
                self.machine.refuse_methods(out).unwrap();
                self.closed = true;
            }
            Event::Request(request) => self.request = Some(request),
            other => panic!("{other:?} is new"),
        }
        true
    }

    fn negotiate(&mut self, from: &mut Pipe, out: &mut Vec<u8>) -> bool {
        match self.policy.method {
            Method::USERNAME_PASSWORD => {
                let Some(request) = from.take(PasswordRequest::decode) else {
                    return false;
                };
                let expected = Credentials::new("joe", self.policy.password).unwrap();
                if request.unwrap().credentials == expected {
                    PasswordReply::SUCCESS.encode(out);
                } else {
                    PasswordReply::FAILURE.encode(out);
                    self.closed = true;
                    return true;
                }
            }
            PRIVATE => {
                if !from.arrived.starts_with(b"open sesame") {
                    return false;
                }
                from.arrived.drain(..11);
                out.extend(b"come in");
            }
            _ => {}
        }
        self.machine.authenticated().unwrap();
        self.negotiating = false;
        true
    }

    fn answer(&mut self, out: &mut Vec<u8>) -> bool {
        if self.policy.answers.is_empty() {
            return false;
        }
        match self.policy.answers.remove(0) {
            Ok(bound) => self.machine.grant(&bound, out).unwrap(),
            Err(code) => self.machine.refuse(code, out).unwrap(),
        }
        if self.policy.answers.is_empty() {
            out.extend(HELLO);
        }
        true
    }
}

/// What a session came to.
#[derive(Debug)]
struct Outcome {
    /// What the server heard.
    request: Option<Request>,
    /// What the client heard: the replies, or why there are none.
    replies: Vec<Target>,
    error: Option<ClientError>,
    /// What lies with the server behind the request.
    payload: Vec<u8>,
    /// What lies with the client behind the replies.
    hello: Vec<u8>,
}

/// Runs a session to its end. The client sends its payload without waiting for
/// anything, if it is `eager`.
fn run(mut client: Client, policy: Policy, at_a_time: usize, eager: bool) -> Outcome {
    let mut serving = Serving {
        machine: Server::new(Versions::ALL),
        policy,
        negotiating: false,
        request: None,
        closed: false,
    };
    let (mut up, mut down) = (Pipe::new(at_a_time), Pipe::new(at_a_time));
    let mut replies = Vec::new();
    let mut error = None;
    let mut opening = false;
    client.start(&mut up.sent).unwrap();
    if eager {
        up.sent.extend(PAYLOAD);
    }
    for _ in 0..10_000 {
        let flowed = up.flow() | down.flow();
        let served = serving.step(&mut up, &mut down.sent);
        if opening {
            if down.arrived.starts_with(b"come in") {
                down.arrived.drain(..7);
                opening = false;
                client.authenticated(&mut up.sent).unwrap();
            }
            continue;
        }
        let over = !replies.is_empty() || error.is_some();
        match down.take(|input| client.receive(input, &mut up.sent)) {
            Some(Ok(ClientEvent::Granted(bound) | ClientEvent::Accepted(bound))) => {
                replies.push(bound);
            }
            Some(Ok(ClientEvent::MethodSelected(method))) => {
                assert_eq!(method, PRIVATE);
                up.sent.extend(b"open sesame");
                opening = true;
            }
            Some(Ok(ClientEvent::Advanced)) => {}
            Some(Ok(other)) => panic!("{other:?} is new"),
            // All is said; what is under way may still arrive.
            Some(Err(ClientError::OutOfTurn)) if over && (flowed || served) => {}
            Some(Err(ClientError::OutOfTurn)) if over => break,
            Some(Err(wrong)) => error = Some(wrong),
            None => {}
        }
    }
    Outcome {
        request: serving.request,
        replies,
        error,
        payload: up.arrived,
        hello: down.arrived,
    }
}

const PACES: [usize; 5] = [1, 2, 3, 7, usize::MAX];

fn joe(password: &str) -> Credentials {
    Credentials::new("joe", password).unwrap()
}

fn targets() -> [Target; 4] {
    [
        target("192.0.2.7:80"),
        target("[2001:db8::1]:443"),
        named("example.com", 25),
        named(&"a".repeat(255), 65535),
    ]
}

/// The clients of every version and method for a request, and what the server
/// has to choose for them.
fn clients(command: Command, target: &Target) -> Vec<(Version, Client, Method)> {
    let user = || UserId::new(b"joe").unwrap();
    let v5 = |offer| Client::v5(offer, command, target.clone());
    let flight = |credentials| Client::v5_in_one_flight(credentials, command, target.clone());
    let password = Method::USERNAME_PASSWORD;
    let all = || {
        Offer::none()
            .or(Offer::password(joe("secret")))
            .or(Offer::method(PRIVATE))
    };
    let mut clients = vec![
        (Version::Socks5, v5(Offer::none()), Method::NONE),
        (
            Version::Socks5,
            v5(Offer::password(joe("secret"))),
            password,
        ),
        (Version::Socks5, v5(Offer::method(PRIVATE)), PRIVATE),
        (Version::Socks5, v5(all()), Method::NONE),
        (Version::Socks5, v5(all()), password),
        (Version::Socks5, v5(all()), PRIVATE),
        (Version::Socks5, flight(None), Method::NONE),
        (Version::Socks5, flight(Some(joe("secret"))), password),
    ];
    if let Ok(client) = Client::v4(user(), command, target.clone()) {
        clients.push((Version::Socks4, client, Method::NONE));
    } else if let Ok(client) = Client::v4a(user(), command, target.clone()) {
        clients.push((Version::Socks4a, client, Method::NONE));
    }
    clients
}

#[test]
fn a_request_is_heard_as_it_was_meant_in_every_version_command_and_method() {
    let commands = [
        Command::CONNECT,
        Command::BIND,
        Command::UDP_ASSOCIATE,
        Command::RESOLVE,
        Command(0x7f),
    ];
    for command in commands {
        for target in targets() {
            for (version, client, method) in clients(command, &target) {
                for pace in PACES {
                    heard(version, &client, method, command, &target, pace);
                }
            }
        }
    }
}

fn heard(
    version: Version,
    client: &Client,
    method: Method,
    command: Command,
    wanted: &Target,
    pace: usize,
) {
    let mut bound = vec![target("198.51.100.1:1080")];
    if command == Command::BIND {
        bound.push(target("203.0.113.9:4321"));
    }
    let policy = Policy {
        method,
        password: "secret",
        answers: bound.iter().cloned().map(Ok).collect(),
    };
    let outcome = run(client.clone(), policy, pace, false);
    let request = outcome.request.unwrap();
    assert_eq!(request.version, version);
    assert_eq!(request.command, command);
    // SOCKS4 sends a mapped address as the IPv4 address that it is.
    let unmapped = match &wanted.host {
        Host::Ip(ip) if version != Version::Socks5 => Target::new(ip.to_canonical(), wanted.port),
        _ => wanted.clone(),
    };
    assert_eq!(request.target, unmapped);
    assert_eq!(outcome.replies, bound);
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.hello, HELLO, "stays with the client");
    assert_eq!(outcome.payload, b"");
}

#[test]
fn what_is_sent_behind_the_request_waits_for_the_target() {
    let address = target("192.0.2.7:80");
    let clients = [
        (
            Client::v4(UserId::default(), Command::CONNECT, address.clone()).unwrap(),
            Method::NONE,
        ),
        (
            Client::v4a(UserId::default(), Command::CONNECT, named("a.b", 1)).unwrap(),
            Method::NONE,
        ),
        (
            Client::v5_in_one_flight(None, Command::CONNECT, address.clone()),
            Method::NONE,
        ),
        (
            Client::v5_in_one_flight(Some(joe("secret")), Command::CONNECT, address),
            Method::USERNAME_PASSWORD,
        ),
    ];
    for (client, method) in clients {
        for pace in PACES {
            let policy = Policy {
                method,
                password: "secret",
                answers: vec![Ok(Target::UNSPECIFIED)],
            };
            let outcome = run(client.clone(), policy, pace, true);
            assert_eq!(outcome.replies, [Target::UNSPECIFIED]);
            assert_eq!(outcome.payload, PAYLOAD, "{pace} at a time");
            assert_eq!(outcome.hello, HELLO);
        }
    }
}

#[test]
fn a_refusal_reaches_the_client_with_its_code() {
    for (version, client, method) in clients(Command::CONNECT, &target("192.0.2.7:80")) {
        for pace in PACES {
            let policy = Policy {
                method,
                password: "secret",
                answers: vec![Err(ReplyCode::HOST_UNREACHABLE)],
            };
            let outcome = run(client.clone(), policy, pace, false);
            let refusal = match outcome.error {
                Some(ClientError::Refused(refusal)) => refusal,
                other => panic!("{other:?}"),
            };
            let expected = match version {
                Version::Socks5 => ReplyCode::HOST_UNREACHABLE,
                _ => ReplyCode::GENERAL_FAILURE,
            };
            assert_eq!(refusal.reply_code(), expected);
            assert_eq!(
                matches!(refusal, FailureCode::V5(_)),
                version == Version::Socks5
            );
        }
    }
}

#[test]
fn a_wrong_password_is_refused_before_the_request_is_read() {
    let offered = Offer::password(joe("wrong"));
    let clients = [
        Client::v5(offered, Command::CONNECT, named("a", 1)),
        Client::v5_in_one_flight(Some(joe("wrong")), Command::CONNECT, named("a", 1)),
    ];
    for client in clients {
        for pace in PACES {
            let policy = Policy {
                method: Method::USERNAME_PASSWORD,
                password: "secret",
                answers: vec![Ok(Target::UNSPECIFIED)],
            };
            let outcome = run(client.clone(), policy, pace, false);
            let status = PasswordReply::FAILURE.status;
            assert_eq!(
                outcome.error,
                Some(ClientError::CredentialsRejected { status })
            );
            assert!(outcome.request.is_none());
        }
    }
}

#[test]
fn a_client_without_the_method_hears_that_none_is_acceptable() {
    for pace in PACES {
        let client = Client::v5(Offer::none(), Command::CONNECT, named("a", 1));
        let policy = Policy {
            method: Method::USERNAME_PASSWORD,
            password: "secret",
            answers: vec![],
        };
        let outcome = run(client, policy, pace, false);
        assert_eq!(outcome.error, Some(ClientError::NoAcceptableMethod));
        assert!(outcome.request.is_none());
    }
}

proptest! {
    #[test]
    fn any_request_is_heard_at_any_pace(
        which in any::<prop::sample::Index>(),
        command in any::<u8>().prop_map(Command),
        target in crate::properties::target(),
        pace in 1_usize..40,
    ) {
        let clients = clients(command, &target);
        let (version, client, method) = which.get(&clients);
        heard(*version, client, *method, command, &target, pace);
    }
}
