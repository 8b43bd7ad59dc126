use std::{net::SocketAddr, sync::Arc};

use socks_tower::{Match, Password, Rules, Server};
use token_over_tls::{BY_TOKEN, ByToken, proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

/// A client within TLS that has shown its token, and what it heard of that.
async fn client(
    tls: &TlsConnector,
    to: SocketAddr,
    token: &[u8],
) -> (TlsStream<TcpStream>, [u8; 3]) {
    let socket = TcpStream::connect(to).await.unwrap();
    let mut client = tls
        .connect("proxy.example".try_into().unwrap(), socket)
        .await
        .unwrap();
    let says = [&[5, 1, BY_TOKEN.0, token.len() as u8], token].concat();
    client.write_all(&says).await.unwrap();
    let mut heard = [0; 3];
    client.read_exact(&mut heard).await.unwrap();
    (client, heard)
}

/// Asks for `target`, and hears how that went.
async fn ask(client: &mut TlsStream<TcpStream>, target: SocketAddr) -> u8 {
    let port = target.port().to_be_bytes();
    let asks = [&[5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat();
    client.write_all(&asks).await.unwrap();
    let mut reply = [0; 10];
    client.read_exact(&mut reply).await.unwrap();
    reply[1]
}

#[tokio::test]
async fn a_token_opens_within_tls() {
    let own = rcgen::generate_simple_self_signed(["proxy.example".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(config));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![own.cert.into()], key).unwrap();

    let token = |token, of: &str| (Password::new(token).unwrap(), of.into());
    let tokens = ByToken(vec![token("open", "joe"), token("sesame", "ann")]);
    let joes = Match::any().identity("joe");
    let loopback = "127.0.0.0/8".parse().unwrap();
    let rules = Rules::new()
        .permit_special(loopback)
        .allow(joes)
        .deny_by_default();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let at = server.local_addr();
    tokio::spawn(server.serve(proxy(config, tokens, rules)));
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target_at = target.local_addr().unwrap();

    // Joe has a token, and a tunnel.
    let (mut joe, heard) = client(&tls, at, b"open").await;
    assert_eq!(heard, [5, BY_TOKEN.0, 0]);
    assert_eq!(ask(&mut joe, target_at).await, 0);
    let (mut served, _) = target.accept().await.unwrap();
    joe.write_all(b"hello").await.unwrap();
    let mut hello = [0; 5];
    served.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");

    // Ann has a token, and is known by it as somebody else.
    let (mut ann, _) = client(&tls, at, b"sesame").await;
    assert_eq!(ask(&mut ann, target_at).await, 2);

    // Others hear that they have none, and no more.
    let (mut nobody, heard) = client(&tls, at, b"guess").await;
    assert_eq!(heard, [5, BY_TOKEN.0, 1]);
    let mut rest = Vec::new();
    nobody.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}
