//! The method with a mechanism that protects nothing, so that what goes wrong can be said
//! byte by byte.

use std::{io, time::Duration};

use socks_core::{
    Encode,
    v5::{
        Command,
        gssapi::{Header, MessageType},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};
use tower::{Layer, Service, service_fn};

use super::*;
use crate::{
    session::{
        ClientStream, Error, ErrorKind, Identity, Requested, WrapsDatagrams,
        gssapi::{Context, Fake, FakeContext, message},
    },
    stages::{
        authenticate::{Attempt, AuthenticateLayer},
        handshake::HandshakeLayer,
    },
    test_support::{CONNECT, Stop, accepted},
};

const ASSOCIATE: &[u8] = b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00";

type Session = JoinHandle<Result<Requested<ClientStream<DuplexStream>>, Error>>;

/// A client that is spoken by hand.
struct Client {
    io: DuplexStream,
    context: FakeContext,
    session: Session,
}

impl Client {
    /// One of `method`, whose server knows `fake`.
    async fn of(method: GssApi, fake: &Fake) -> Self {
        let (mut io, server) = duplex(1 << 20);
        let mut stack = HandshakeLayer::new().layer(AuthenticateLayer::new(method).layer(Stop));
        let session = tokio::spawn(stack.call(accepted(server)));
        io.write_all(b"\x05\x01\x01").await.unwrap();
        let mut client = Self {
            io,
            context: fake.client(),
            session,
        };
        assert_eq!(client.read(2).await, [5, 1]);
        client
    }

    async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut read = vec![0; len];
        self.io.read_exact(&mut read).await.unwrap();
        read
    }

    async fn say(&mut self, message_type: MessageType, token: &[u8]) {
        let message = message(message_type, token.to_vec()).unwrap();
        self.io.write_all(&message).await.unwrap();
    }

    async fn hear(&mut self, message_type: MessageType) -> Vec<u8> {
        let header = self.read(4).await;
        let len = u16::from_be_bytes([header[2], header[3]]);
        assert_eq!(header, Header { message_type, len }.to_bytes());
        self.read(len.into()).await
    }

    fn wrapped(&mut self, encrypt: bool, plain: &[u8]) -> Vec<u8> {
        let mut token = Vec::new();
        self.context.wrap(encrypt, plain, &mut token).unwrap();
        token
    }

    async fn hello(&mut self) {
        self.say(MessageType::Context, b"hello:joe@EXAMPLE.ORG")
            .await;
        assert_eq!(self.hear(MessageType::Context).await, b"welcome");
    }

    /// Asks for a level, and gives the answer.
    async fn ask(&mut self, level: u8) -> u8 {
        let token = self.wrapped(false, &[level]);
        self.say(MessageType::ProtectionLevel, &token).await;
        let mut token = self.hear(MessageType::ProtectionLevel).await;
        let unwrapped = self.context.unwrap(&mut token).unwrap();
        assert!(!unwrapped.encrypted);
        assert_eq!(unwrapped.range.len(), 1);
        token[unwrapped.range.start]
    }

    async fn send(&mut self, encrypt: bool, plain: &[u8]) {
        let token = self.wrapped(encrypt, plain);
        self.say(MessageType::Data, &token).await;
    }

    /// What is left once the session has ended in failure.
    async fn ends(mut self) -> (Vec<u8>, Error) {
        let mut rest = Vec::new();
        self.io.read_to_end(&mut rest).await.unwrap();
        drop(self.io);
        (rest, self.session.await.unwrap().unwrap_err())
    }

    async fn requested(self) -> (Requested<ClientStream<DuplexStream>>, DuplexStream) {
        (self.session.await.unwrap().unwrap(), self.io)
    }
}

fn method(fake: &Fake) -> GssApi {
    GssApi::with_acceptor(fake.clone())
}

/// Everything up to the request, which is sent whole.
async fn requested(method: GssApi, fake: &Fake, request: &[u8]) -> Client {
    let mut client = Client::of(method, fake).await;
    client.hello().await;
    assert_eq!(client.ask(1).await, 1);
    client.send(false, request).await;
    client
}

#[tokio::test]
async fn the_principal_with_its_realm_is_who_the_client_is() {
    let fake = Fake::new();
    let client = requested(method(&fake), &fake, CONNECT).await;
    let (requested, _io) = client.requested().await;
    let session = &requested.request.session;
    assert_eq!(
        session.identity.as_ref().map(Identity::as_str),
        Some("joe@EXAMPLE.ORG")
    );
    assert_eq!(session.extensions.get(), Some(&Protection::Integrity));
    assert!(session.extensions.get::<WrapsDatagrams>().is_some());
    assert_eq!(requested.request.command, Command::CONNECT);
}

#[tokio::test]
async fn a_verifier_gives_shorter_names_and_lets_in_whom_it_likes() {
    let ours = || {
        service_fn(|attempt: Attempt<Principal>| async move {
            let name = attempt.credentials.of_realm("EXAMPLE.ORG");
            name.map(Identity::new).ok_or("of another realm")
        })
    };
    let fake = Fake::new();
    let client = requested(method(&fake).with_verifier(ours()), &fake, CONNECT).await;
    let (requested, _io) = client.requested().await;
    let identity = requested.request.session.identity;
    assert_eq!(identity.as_ref().map(Identity::as_str), Some("joe"));

    let mut client = Client::of(method(&fake).with_verifier(ours()), &fake).await;
    client
        .say(MessageType::Context, b"hello:joe@EXAMPLE.COM")
        .await;
    let (heard, error) = client.ends().await;
    assert_eq!(heard, b"\x01\xff", "and not that it knows us");
    assert_eq!(error.kind(), ErrorKind::Authentication);
}

#[tokio::test]
async fn everything_may_come_byte_by_byte() {
    let fake = Fake::new();
    let mut client = Client::of(method(&fake), &fake).await;
    let mut sent = message(MessageType::Context, b"hello:joe".to_vec()).unwrap();
    let level = client.wrapped(false, &[2]);
    sent.extend(message(MessageType::ProtectionLevel, level).unwrap());
    for byte in CONNECT.iter().chain(b"early") {
        let token = client.wrapped(true, &[*byte]);
        sent.extend(message(MessageType::Data, token).unwrap());
    }
    for byte in sent {
        client.io.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(client.hear(MessageType::Context).await, b"welcome");
    client.hear(MessageType::ProtectionLevel).await;
    let (requested, io) = client.requested().await;
    drop(io);
    let mut stream = requested.client.into_stream();
    let mut early = Vec::new();
    stream.read_to_end(&mut early).await.unwrap();
    assert_eq!(early, b"early");
}

#[tokio::test]
async fn a_level_is_answered_by_what_will_do() {
    let fake = Fake::new();
    let plain = || method(&fake);
    let encrypted = || plain().with_least(Protection::Confidentiality);
    for (method, asked, answered) in [
        (plain(), 1, 1),
        (plain(), 2, 2),
        (plain(), 3, 2),
        (plain(), 0, 1),
        (encrypted(), 1, 2),
        (encrypted(), 2, 2),
        (encrypted(), 3, 2),
        (encrypted(), 0, 2),
        (plain().with_least(Protection::Unprotected), 0, 1),
        (plain().allow_unprotected(), 0, 0),
        (plain().allow_unprotected(), 1, 1),
        (encrypted().allow_unprotected(), 0, 0),
        (plain().allow_downgrade(), 2, 0),
        (plain().allow_downgrade(), 1, 1),
        (plain().allow_downgrade(), 3, 2),
        (plain().allow_downgrade(), 0, 1),
    ] {
        let said = format!("{method:?}");
        let mut client = Client::of(method, &fake).await;
        client.hello().await;
        assert_eq!(client.ask(asked).await, answered, "{asked} of {said}");
    }
}

#[tokio::test]
async fn without_protection_all_that_follows_is_in_clear() {
    // There is no order to keep: curl does not ask for it.
    let fake = Fake::new().with(|facts| facts.sequence = false);
    let mut client = Client::of(method(&fake).allow_unprotected(), &fake).await;
    client.hello().await;
    assert_eq!(client.ask(0).await, 0);
    client.io.write_all(CONNECT).await.unwrap();
    let (requested, _io) = client.requested().await;
    assert!(requested.client.io().get_ref().is_some());
    let extensions = &requested.request.session.extensions;
    assert_eq!(extensions.get(), Some(&Protection::Unprotected));
    assert!(extensions.get::<WrapsDatagrams>().is_none());
}

#[tokio::test]
async fn a_level_that_is_not_wrapped_is_taken_if_allowed_and_answered_likewise() {
    let fake = Fake::new();
    let mut client = Client::of(method(&fake).allow_nec(), &fake).await;
    client.hello().await;
    client.say(MessageType::ProtectionLevel, &[2]).await;
    assert_eq!(client.hear(MessageType::ProtectionLevel).await, [2]);
    client.send(true, CONNECT).await;
    let (requested, _io) = client.requested().await;
    assert!(requested.client.io().get_ref().is_none());
}

#[tokio::test]
async fn a_client_that_does_not_ask_who_we_are_gets_an_empty_token() {
    let fake = Fake::new().with(|facts| facts.mutual = false);
    let mut client = Client::of(method(&fake), &fake).await;
    client.say(MessageType::Context, b"hello:joe").await;
    assert_eq!(client.read(4).await, b"\x01\x01\x00\x00");
    assert_eq!(client.ask(1).await, 1);
}

#[tokio::test]
async fn a_first_token_that_will_not_do_is_refused_at_once() {
    let anonymous = Fake::new().with(|facts| facts.anonymous = true);
    let no_replay = Fake::new().with(|facts| (facts.replay, facts.sequence) = (false, false));
    let fake = Fake::new();
    let message = |message_type, token: &[u8]| message(message_type, token.to_vec()).unwrap();
    let context = MessageType::Context;
    for (fake, sent) in [
        (&fake, message(context, b"")),
        (&fake, message(context, b"who?")),
        (&fake, message(MessageType::ProtectionLevel, b"hello:joe")),
        (&fake, message(MessageType::Data, b"hello:joe")),
        (&fake, b"\x01\x04\x00\x00".to_vec()),
        (&fake, b"\x05\x01\x00\x00".to_vec()),
        (&fake, b"\x01\xff".to_vec()),
        (&anonymous, message(context, b"hello:joe")),
        (&no_replay, message(context, b"hello:joe")),
    ] {
        let mut client = Client::of(method(fake), fake).await;
        client.io.write_all(&sent).await.unwrap();
        let (heard, error) = client.ends().await;
        assert_eq!(heard, b"\x01\xff", "{sent:?}");
        assert_eq!(error.kind(), ErrorKind::Authentication, "{sent:?}");
    }
}

#[tokio::test]
async fn a_level_that_will_not_do_is_refused() {
    let fake = Fake::new();
    type Make = fn(&mut Client) -> Vec<u8>;
    fn level(client: &mut Client, level: &[u8]) -> Vec<u8> {
        client.wrapped(false, level)
    }
    let makes: [Make; 6] = [
        |_| vec![1],
        |_| Vec::new(),
        |client| level(client, &[4]),
        |client| level(client, &[255]),
        |client| level(client, &[1, 1]),
        |client| {
            let mut token = level(client, &[1]);
            token[3] ^= 1;
            token
        },
    ];
    for make in makes {
        let mut client = Client::of(method(&fake), &fake).await;
        client.hello().await;
        let token = make(&mut client);
        client.say(MessageType::ProtectionLevel, &token).await;
        let (heard, error) = client.ends().await;
        assert_eq!(heard, b"\x01\xff", "{token:?}");
        assert_eq!(error.kind(), ErrorKind::Authentication);
    }
}

#[tokio::test]
async fn a_first_token_lets_in_once() {
    let fake = Fake::new();
    let method = std::sync::Arc::new(method(&fake));
    for (again, token) in [
        (false, b"hello:joe"),
        (true, b"hello:joe"),
        (false, b"hello:ann"),
    ] {
        let (mut io, server) = duplex(4096);
        let layer = AuthenticateLayer::new(std::sync::Arc::clone(&method));
        let mut stack = HandshakeLayer::new().layer(layer.layer(Stop));
        let _session = tokio::spawn(stack.call(accepted(server)));
        io.write_all(b"\x05\x01\x01").await.unwrap();
        let message = message(MessageType::Context, token.to_vec()).unwrap();
        io.write_all(&message).await.unwrap();
        let mut heard = [0; 4];
        io.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard[2..], if again { b"\x01\xff" } else { b"\x01\x01" });
    }
}

#[tokio::test(start_paused = true)]
async fn silence_within_a_context_ends_with_the_deadline() {
    let fake = Fake::new();
    for token in [
        &b"\x01"[..],
        b"\x01\x01\xff\xff",
        b"\x01\x01\x00\x09hello:jo",
    ] {
        let mut client = Client::of(method(&fake), &fake).await;
        let began = Instant::now();
        client.io.write_all(token).await.unwrap();
        let error = client.session.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert!(began.elapsed() <= Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_within_a_context_is_gone() {
    let fake = Fake::new();
    let mut client = Client::of(method(&fake), &fake).await;
    client.io.write_all(b"\x01\x01\xff\xffhello").await.unwrap();
    drop(client.io);
    let error = client.session.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientGone);
}

#[tokio::test]
async fn half_done_contexts_hold_no_thread() {
    let fake = Fake {
        rounds: 3,
        ..Fake::new()
    };
    let method = std::sync::Arc::new(method(&fake).with_threads(1));
    let mut half_done = Vec::new();
    for number in 0..200 {
        let (mut io, server) = duplex(4096);
        let layer = AuthenticateLayer::new(std::sync::Arc::clone(&method));
        let mut stack = HandshakeLayer::new().layer(layer.layer(Stop));
        let session = tokio::spawn(stack.call(accepted(server)));
        io.write_all(b"\x05\x01\x01").await.unwrap();
        let hello = format!("hello:{number}");
        let hello = message(MessageType::Context, hello.into()).unwrap();
        io.write_all(&hello).await.unwrap();
        half_done.push((io, session));
    }
    for (io, _) in &mut half_done {
        let mut heard = [0; 2 + 4 + 5];
        io.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard[6..], b"go on");
    }
    // All go on now, the last first.
    for (io, _) in half_done.iter_mut().rev() {
        for answer in [&b"go on"[..], b"welcome"] {
            let more = message(MessageType::Context, b"more".to_vec()).unwrap();
            io.write_all(&more).await.unwrap();
            let mut heard = vec![0; 4 + answer.len()];
            io.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard[4..], answer);
        }
    }
}

#[tokio::test]
async fn a_client_that_sends_token_after_token_is_refused() {
    let fake = Fake {
        rounds: 100,
        ..Fake::new()
    };
    let mut client = Client::of(method(&fake), &fake).await;
    client.say(MessageType::Context, b"hello:joe").await;
    for _ in 1..8 {
        assert_eq!(client.hear(MessageType::Context).await, b"go on");
        client.say(MessageType::Context, b"more").await;
    }
    assert_eq!(client.hear(MessageType::Context).await, b"go on");
    assert_eq!(client.ends().await.0, b"\x01\xff");
}

#[tokio::test]
async fn requests_may_be_split_over_messages_and_share_one() {
    let fake = Fake::new();
    let mut client = requested(method(&fake), &fake, &CONNECT[..3]).await;
    client.send(false, b"").await;
    client.send(false, &CONNECT[3..]).await;
    client.send(false, b"").await;
    client.send(false, b"early").await;
    let (requested, io) = client.requested().await;
    drop(io);
    let mut rest = Vec::new();
    let mut stream = requested.client.into_stream();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"early");

    let client = requested_with(&fake, &[CONNECT, b"early"].concat()).await;
    let (requested, io) = client.requested().await;
    drop(io);
    let mut rest = Vec::new();
    let mut stream = requested.client.into_stream();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"early");
}

async fn requested_with(fake: &Fake, request: &[u8]) -> Client {
    requested(method(fake), fake, request).await
}

/// What a session reads behind its request, once the client has sent this.
async fn reads(fake: &Fake, sent: impl AsyncFnOnce(&mut Client)) -> io::Result<Vec<u8>> {
    let mut client = requested_with(fake, CONNECT).await;
    sent(&mut client).await;
    let (requested, io) = client.requested().await;
    drop(io);
    let mut stream = requested.client.into_stream();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.map(|_| rest)
}

#[tokio::test]
async fn an_end_amid_a_message_is_no_orderly_end() {
    let fake = Fake::new();
    assert_eq!(reads(&fake, async |_| ()).await.unwrap(), b"");
    let whole = b"\x01\x03\x00\x05token";
    for len in 1..whole.len() {
        let cut = async |client: &mut Client| client.io.write_all(&whole[..len]).await.unwrap();
        let error = reads(&fake, cut).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len}");
    }
}

#[tokio::test]
async fn what_is_changed_comes_again_or_is_missing_ends_the_session() {
    let fake = Fake::new();
    for bad in [
        &b"\x01\x01\x00\x00"[..],
        b"\x01\xff",
        b"\x01\x03\x00\x00",
        b"\x05",
        b"GET / HTTP/1.1\r\n",
    ] {
        let sent = async |client: &mut Client| client.io.write_all(bad).await.unwrap();
        let error = reads(&fake, sent).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad:?}");
    }
    let changed = async |client: &mut Client| {
        let mut token = client.wrapped(false, b"data");
        token[4] ^= 1;
        client.say(MessageType::Data, &token).await;
    };
    let again = async |client: &mut Client| {
        let token = client.wrapped(false, b"data");
        client.say(MessageType::Data, &token).await;
        client.say(MessageType::Data, &token).await;
    };
    let missing = async |client: &mut Client| {
        client.wrapped(false, b"data");
        client.send(false, b"more").await;
    };
    let invalid = Err(io::ErrorKind::InvalidData);
    assert_eq!(reads(&fake, changed).await.map_err(|it| it.kind()), invalid);
    assert_eq!(reads(&fake, again).await.map_err(|it| it.kind()), invalid);
    assert_eq!(reads(&fake, missing).await.map_err(|it| it.kind()), invalid);
}

#[tokio::test]
async fn level_2_takes_nothing_in_clear() {
    let fake = Fake::new();
    let mut client = Client::of(method(&fake), &fake).await;
    client.hello().await;
    assert_eq!(client.ask(2).await, 2);
    client.send(false, CONNECT).await;
    let error = client.session.await.unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("in clear"), "{error:?}");
}

#[tokio::test]
async fn without_sequencing_only_udp_is_served_unless_allowed() {
    let fake = Fake::new().with(|facts| facts.sequence = false);
    let client = requested(method(&fake), &fake, CONNECT).await;
    let error = client.session.await.unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("order"), "{error:?}");

    let client = requested(method(&fake), &fake, ASSOCIATE).await;
    assert!(client.session.await.unwrap().is_ok());

    let client = requested(method(&fake).allow_unsequenced(), &fake, CONNECT).await;
    assert!(client.session.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_session_ends_with_its_ticket_unless_told_otherwise() {
    let lifetime = Duration::from_secs(3600);
    let fake = Fake::new().with_lifetime(lifetime);
    let client = requested(method(&fake), &fake, CONNECT).await;
    let (requested, _io) = client.requested().await;
    // Not before: nobody waits for threads in a time that is paused.
    tokio::time::pause();
    let began = Instant::now();
    let mut stream = requested.client.into_stream();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(lifetime.abs_diff(began.elapsed()) < Duration::from_secs(60));
    let error = stream.write_all(b"late").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    tokio::time::resume();

    let client = self::requested(method(&fake).outlive_tickets(), &fake, CONNECT).await;
    let (requested, _io) = client.requested().await;
    tokio::time::pause();
    let mut stream = requested.client.into_stream();
    let read = tokio::time::timeout(2 * lifetime, stream.read_u8()).await;
    assert!(read.is_err(), "it goes on");
}

#[tokio::test]
async fn what_is_written_goes_out_in_messages_that_fit() {
    let fake = Fake::new();
    let client = requested_with(&fake, CONNECT).await;
    let mut context = client.context;
    let (mut io, session) = (client.io, client.session);
    let requested = session.await.unwrap().unwrap();
    let mut stream = requested.client.into_stream();
    let sent: Vec<u8> = (0..200_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let writing = sent.clone();
    let wrote = tokio::spawn(async move {
        stream.write_all(&writing).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut raw = Vec::new();
    io.read_to_end(&mut raw).await.unwrap();
    wrote.await.unwrap();
    // What stands before: the end of the context, and the answer to the level.
    let mut rest = &raw[..];
    let mut got = Vec::new();
    while let [1, kind, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let mut token = after[..len].to_vec();
        rest = &after[len..];
        if *kind == 3 {
            let range = context.unwrap(&mut token).unwrap().range;
            got.extend_from_slice(&token[range]);
        }
    }
    assert!(rest.is_empty());
    assert_eq!(got, sent);
}

#[tokio::test]
async fn datagrams_that_are_not_the_client_s_are_not_unwrapped() {
    let fake = Fake::new().with(|facts| facts.sequence = false);
    let mut client = requested(method(&fake), &fake, ASSOCIATE).await;
    let token = client.wrapped(false, b"datagram");
    let datagram = message(MessageType::Data, token).unwrap();
    let late = client.wrapped(false, b"late");
    let soon = client.wrapped(false, b"soon");
    let (requested, _io) = client.requested().await;
    let extensions = &requested.request.session.extensions;
    let wrapper = extensions.get::<WrapsDatagrams>().unwrap();

    let unwrapped = |datagram: &[u8]| {
        let mut datagram = datagram.to_vec();
        let len = wrapper.unwrap(&mut datagram)?;
        Some(datagram[..len].to_vec())
    };
    for bad in [&b""[..], b"\x01", b"\x01\xff", &datagram[..9], b"in clear"] {
        assert_eq!(unwrapped(bad), None, "{bad:?}");
    }
    let other = [&[1, 1], &datagram[2..]].concat();
    let longer = [&datagram[..], b"x"].concat();
    assert_eq!(unwrapped(&other), None);
    assert_eq!(unwrapped(&longer), None);
    assert_eq!(unwrapped(&datagram).as_deref(), Some(&b"datagram"[..]));
    assert_eq!(unwrapped(&datagram), None, "a second time");
    // They may overtake each other.
    for (token, data) in [(soon, b"soon"), (late, b"late")] {
        let datagram = message(MessageType::Data, token).unwrap();
        assert_eq!(unwrapped(&datagram).as_deref(), Some(&data[..]));
    }
    let mut out = Vec::new();
    assert!(wrapper.0.wrap(b"answer", &mut out));
    assert_eq!(&out[..4], b"\x01\x03\x00\x0a");
    assert!(
        !wrapper.0.wrap(&[0; 65_535], &mut out),
        "too long for a message"
    );
}
