use std::net::SocketAddr;

use socks_tower::{
    Admitted, AuthMethod, Decode, Decoded, Encode, Negotiation, Password,
    works::upstream::{ClientMethod, ProxyNegotiation},
};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;
use crate::message::{
    ALGORITHMS, CHALLENGE, HMAC_MD5, Malformed, Message, RESPONSE, USER_IDENTITY,
};

fn chap() -> Chap<Secrets> {
    Chap::new(Secrets::new([("joe", "secret"), ("ann", "s3cret")]).unwrap())
}

/// The server's side of a negotiation, at the other end of a stream.
fn negotiates(chap: Chap<Secrets>) -> (DuplexStream, impl Future<Output = Option<String>>) {
    let (client, mut io) = duplex(1 << 16);
    let admitted = async move {
        let session = Session::new();
        let mut early = Vec::new();
        let mut client = Negotiation::new(&session, &mut early, &mut io);
        let admitted = chap.authenticate(&mut client).await.ok();
        client.flush().await.unwrap();
        let identity = admitted.as_ref().and_then(Admitted::identity);
        identity.map(|it| it.as_str().to_owned())
    };
    (client, admitted)
}

async fn comes(client: ChapClient) -> (Result<(), BoxError>, Option<String>) {
    let (mut io, admitted) = negotiates(chap());
    tokio::join!(authenticates(client, &mut io), admitted)
}

/// The client's side of a negotiation.
async fn authenticates(client: ChapClient, io: &mut DuplexStream) -> Result<(), BoxError> {
    let mut proxy = ProxyNegotiation::new(Command::CONNECT, io);
    client.authenticate(&mut proxy).await?;
    Ok(proxy.flush().await?)
}

#[tokio::test]
async fn who_knows_the_secret_is_let_in_and_nobody_else() {
    for (name, secret, let_in) in [
        ("joe", "secret", true),
        ("ann", "s3cret", true),
        ("joe", "s3cret", false),
        ("joe", "", false),
        ("jim", "secret", false),
        ("", "", false),
    ] {
        let one_way = ChapClient::new(name, secret).unwrap();
        let mutual = ChapClient::new(name, secret).unwrap().mutual();
        for client in [one_way, mutual] {
            let (told, admitted) = comes(client).await;
            assert_eq!(told.is_ok(), let_in, "{name} {secret}");
            assert_eq!(admitted.as_deref(), let_in.then_some(name));
        }
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_know_the_secret_is_found_out() {
    let (mut io, mut proxy) = duplex(1 << 16);
    let mutual = ChapClient::new("joe", "secret").unwrap().mutual();
    let client = async move { authenticates(mutual, &mut io).await };
    let impostor = async move {
        let asks = Message::new()
            .with(ALGORITHMS, &[HMAC_MD5])
            .with(CHALLENGE, &[7; 16]);
        proxy.write_all(&asks.to_bytes()).await.unwrap();
        let guess = Message::status(true).with(RESPONSE, &[7; 16]);
        proxy.write_all(&guess.to_bytes()).await.unwrap();
        let mut heard = Vec::new();
        proxy.read_to_end(&mut heard).await.unwrap();
        assert!(heard.ends_with(&Message::status(false).to_bytes()));
    };
    let (told, ()) = tokio::join!(client, impostor);
    let error = told.unwrap_err().to_string();
    assert_eq!(error, "the proxy does not know the secret");
}

#[tokio::test]
async fn a_client_whom_we_do_not_convince_is_not_let_in() {
    let (mut io, admitted) = negotiates(chap());
    let client = async {
        let hello = Message::new().with(ALGORITHMS, &[1, HMAC_MD5]);
        io.write_all(&hello.to_bytes()).await.unwrap();
        let challenge = challenge_of(&mut io).await;
        let response = server::answer(&Password::new("secret").unwrap(), &challenge).unwrap();
        let response = hmac::Mac::finalize(response).into_bytes();
        let answers = Message::new()
            .with(USER_IDENTITY, b"joe")
            .with(RESPONSE, &response)
            .with(CHALLENGE, b"")
            .with(0x77, b"what nobody knows");
        io.write_all(&answers.to_bytes()).await.unwrap();
        let no = Message::status(false);
        io.write_all(&no.to_bytes()).await.unwrap();
    };
    let ((), admitted) = tokio::join!(client, admitted);
    assert_eq!(admitted, None);
}

async fn challenge_of(io: &mut DuplexStream) -> Vec<u8> {
    let mut asked = [0; 2 + 3 + 18];
    io.read_exact(&mut asked).await.unwrap();
    match Message::decode(&asked).unwrap() {
        Decoded::Complete { message, .. } => message.get(CHALLENGE).unwrap().to_vec(),
        Decoded::Incomplete { .. } => panic!("{asked:?}"),
    }
}

#[tokio::test]
async fn hostile_clients_hear_a_refusal_and_are_not_let_in() {
    let hello = Message::new().with(ALGORITHMS, &[HMAC_MD5]).to_bytes();
    let with = |answers: &[u8]| [&hello[..], answers].concat();
    let long = Message::new()
        .with(USER_IDENTITY, b"joe")
        .with(RESPONSE, &[0; 255]);
    for sent in [
        b"\x05\x01\x00".to_vec(),
        b"\x01\x00".to_vec(),
        b"\x01\xff".to_vec(),
        b"\x01\x01\x11\x00".to_vec(),
        b"\x01\x01\x11\x01\x01".to_vec(),
        b"\x01\x02\x11\x01\x85\x11\x01\x85".to_vec(),
        with(b"\x01\x00"),
        with(b"\x02"),
        with(b"\x01\x01\x02\x03joe"),
        with(b"\x01\x02\x02\x03joe\x04\x00"),
        with(b"\x01\x02\x02\x00\x04\x10AAAAAAAAAAAAAAAA"),
        with(b"\x01\x02\x02\x01\xff\x04\x10AAAAAAAAAAAAAAAA"),
        with(&long.to_bytes()),
        // And those that end amid a message.
        hello[..4].to_vec(),
        with(b"\x01\x02\x02\x03jo"),
    ] {
        let (mut io, admitted) = negotiates(chap());
        let client = async move {
            // A byte at a time.
            for byte in &sent {
                let _ = io.write_all(&[*byte]).await;
                tokio::task::yield_now().await;
            }
            io.shutdown().await.unwrap();
            let mut heard = Vec::new();
            io.read_to_end(&mut heard).await.unwrap();
            (sent, heard)
        };
        let ((sent, heard), admitted) = tokio::join!(client, admitted);
        assert_eq!(admitted, None, "{sent:?}");
        assert!(
            heard.ends_with(b"\x01\x01\x00\x01\x01"),
            "{sent:?}: {heard:?}"
        );
    }
}

#[tokio::test]
async fn hostile_proxies_get_no_answer_to_what_they_have_not_asked() {
    for said in [
        &b"\x05"[..],
        b"\x01\x00",
        b"\x01\x01\x00\x01\x01",
        b"\x01\x01\x11\x01\x04",
        b"\x01\x01\x11\x02\x85\x04",
        b"\x01\x01\x03\x01x",
        b"\x01\x01\x11\x01\x85\x01\x00",
        b"\x01\xff",
        b"\x01\x02\x11",
    ] {
        let (mut io, mut proxy) = duplex(1 << 16);
        let client = ChapClient::new("joe", "secret").unwrap();
        proxy.write_all(said).await.unwrap();
        proxy.shutdown().await.unwrap();
        let told = authenticates(client, &mut io).await;
        assert!(told.is_err(), "{said:?}");
        drop(io);
        let mut heard = Vec::new();
        proxy.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"\x01\x01\x11\x01\x85", "{said:?}");
    }
}

#[test]
fn a_message_is_the_same_however_it_is_split_and_bounded() {
    let message = Message::new()
        .with(ALGORITHMS, &[HMAC_MD5, 4])
        .with(CHALLENGE, &[9; 255])
        .with(RESPONSE, b"");
    let mut bytes = message.to_bytes();
    bytes.push(0xff);
    let mut have = 0;
    loop {
        match Message::decode(&bytes[..have]).unwrap() {
            Decoded::Incomplete { needed } => have += needed,
            Decoded::Complete {
                message: read,
                consumed,
            } => {
                assert!(read == message);
                assert_eq!((consumed, have), (bytes.len() - 1, bytes.len() - 1));
                break;
            }
        }
    }
    for end in 0..bytes.len() - 1 {
        let part = Message::decode(&bytes[..end]).unwrap();
        assert!(matches!(part, Decoded::Incomplete { needed } if end + needed < bytes.len()));
    }
    assert_eq!(Message::decode(b"\x01\x11").err(), Some(Malformed::TooMany));
    assert_eq!(Message::decode(b"\x04").err(), Some(Malformed::Version));
}

#[tokio::test]
async fn guessing_is_ended_and_the_password_method_is_not_served() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    let secrets = Secrets::new([("joe", "secret")]).unwrap();
    let serving = tokio::spawn(server.serve(proxy(secrets).unwrap()));

    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"\x05\x02\x00\x02").await.unwrap();
    let mut heard = [0; 2];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, [5, 0xff]);

    let target = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target.local_addr().unwrap();
    assert!(connects(addr, target, "secret").await);
    for _ in 0..5 {
        assert!(!connects(addr, target, "guess").await);
    }
    assert!(!connects(addr, target, "secret").await, "locked out");
    serving.abort();
}

async fn connects(proxy: SocketAddr, target: SocketAddr, secret: &str) -> bool {
    let chap = ChapClient::new("joe", secret).unwrap().mutual();
    let connector = Socks5Connector::new(proxy.into(), direct()).with_method(chap);
    let request = Request::new(Session::new(), Command::CONNECT, Target::from(target));
    connector.oneshot(request).await.is_ok()
}

#[test]
fn an_empty_secret_is_nobody_s() {
    assert!(Secrets::new([("joe", "")]).is_err());
}
