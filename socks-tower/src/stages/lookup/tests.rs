use std::{convert::Infallible, io, net::IpAddr, time::Duration};

use socks_core::{DomainName, Target, server::Version, v5::Command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::Instant,
};
use tower::{ServiceBuilder, service_fn};
use tower_service::Service;

use crate::{
    session::{Error, ErrorKind, Inbound, Pinned, Request, Requested, Session, Transfer, Work},
    stages::lookup::{TorResolve, TorResolvePtr},
    works::{
        authorize::{AuthorizeLayer, Permit, Rules},
        resolve::ResolveLayer,
    },
};

/// Knows three names, and has the default rules around them.
fn judge() -> impl Work<Request, Response = Request<Pinned>> {
    let resolver = service_fn(
        |Request { target: name, .. }: Request<DomainName>| async move {
            let addrs: &[&str] = match name.as_str() {
                "db.example" => &["2001:db8::7", "192.0.2.7"],
                "v6.example" => &["2001:db8::7"],
                "inside.example" => &["10.0.0.1"],
                _ => return Err(io::Error::other("no such name")),
            };
            Ok(addrs.iter().map(|ip| ip.parse::<IpAddr>().unwrap()))
        },
    );
    ServiceBuilder::new()
        .layer(ResolveLayer::new(resolver))
        .layer(AuthorizeLayer::new(Rules::new()))
        .service(Permit::new())
}

fn names() -> impl Work<Request<IpAddr>, Response: IntoIterator<Item = DomainName>> {
    service_fn(|Request { target: ip, .. }: Request<IpAddr>| async move {
        Ok::<_, Infallible>(match ip.to_string().as_str() {
            "192.0.2.7" => Some(DomainName::new("db.example").unwrap()),
            _ => None,
        })
    })
}

/// Asks in `version`; gives all that the client hears, and what came of it.
async fn ask<S>(
    mut stack: S,
    version: Version,
    command: Command,
    host: &str,
) -> (Vec<u8>, Result<Transfer, Error>)
where
    S: Service<Requested<tokio::io::DuplexStream>, Response = Transfer, Error = Error>,
{
    let (mut client, io) = duplex(512);
    let mut session = Session::new();
    session.protocol = Some(version.into());
    let target = Target::new(socks_core::Host::parse(host).unwrap(), 0);
    let requested = Requested {
        client: Inbound::new(io, Vec::new(), version),
        request: Request::new(session, command, target),
    };
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    let (result, read) = tokio::join!(stack.call(requested), client.read_to_end(&mut heard));
    read.unwrap();
    (heard, result)
}

async fn resolve(version: Version, host: &str) -> (Vec<u8>, Result<Transfer, Error>) {
    ask(TorResolve::new(judge()), version, Command::RESOLVE, host).await
}

async fn resolve_ptr(version: Version, host: &str) -> (Vec<u8>, Result<Transfer, Error>) {
    let stack = TorResolvePtr::new(judge(), names());
    ask(stack, version, Command::RESOLVE_PTR, host).await
}

#[tokio::test]
async fn a_name_is_answered_with_an_ipv4_address_if_it_has_one() {
    let (heard, result) = resolve(Version::Socks5, "db.example").await;
    assert_eq!(heard, b"\x05\x00\x00\x01\xc0\x00\x02\x07\x00\x00");
    assert!(result.is_ok());

    let (heard, result) = resolve(Version::Socks5, "v6.example").await;
    let ip = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap();
    let expected = [&b"\x05\x00\x00\x04"[..], &ip.octets(), b"\0\0"].concat();
    assert_eq!(heard, expected);
    assert!(result.is_ok());
}

#[tokio::test]
async fn socks4a_is_answered_with_the_first_ipv4_address() {
    let (heard, _) = resolve(Version::Socks4a, "db.example").await;
    assert_eq!(heard, b"\x00\x5a\x00\x00\xc0\x00\x02\x07");

    let (heard, result) = resolve(Version::Socks4a, "v6.example").await;
    assert_eq!(heard[..2], [0, 91]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Resolve);
}

#[tokio::test]
async fn an_address_is_its_own_answer() {
    let (heard, _) = resolve(Version::Socks5, "192.0.2.9").await;
    assert_eq!(heard, b"\x05\x00\x00\x01\xc0\x00\x02\x09\x00\x00");
}

#[tokio::test]
async fn what_may_not_be_reached_is_not_told() {
    for host in ["inside.example", "127.0.0.1"] {
        let (heard, result) = resolve(Version::Socks5, host).await;
        assert_eq!(heard[..2], [5, 2], "{host}");
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Denied, "{host}");
    }
    let (heard, result) = resolve_ptr(Version::Socks5, "10.0.0.1").await;
    assert_eq!(heard[..2], [5, 2]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_name_that_cannot_be_found_is_04() {
    let (heard, result) = resolve(Version::Socks5, "nowhere.example").await;
    assert_eq!(heard[..2], [5, 4]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Resolve);
}

#[tokio::test]
async fn an_address_is_answered_with_its_name() {
    let (heard, result) = resolve_ptr(Version::Socks5, "192.0.2.7").await;
    assert_eq!(heard, b"\x05\x00\x00\x03\x0adb.example\x00\x00");
    assert!(result.is_ok());
}

#[tokio::test]
async fn an_address_without_a_name_is_04() {
    let (heard, result) = resolve_ptr(Version::Socks5, "192.0.2.8").await;
    assert_eq!(heard[..2], [5, 4]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Resolve);
}

#[tokio::test]
async fn only_addresses_of_socks5_have_names() {
    let (heard, _) = resolve_ptr(Version::Socks5, "db.example").await;
    assert_eq!(heard[..2], [5, 8]);
    let (heard, result) = resolve_ptr(Version::Socks4, "192.0.2.7").await;
    assert_eq!(heard[..2], [0, 91]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Command);
}

#[tokio::test]
async fn other_commands_are_refused() {
    let stack = TorResolve::new(judge());
    let (heard, _) = ask(stack, Version::Socks5, Command::CONNECT, "db.example").await;
    assert_eq!(heard[..2], [5, 7]);
    let stack = TorResolvePtr::new(judge(), names());
    let (heard, _) = ask(stack, Version::Socks5, Command::RESOLVE, "db.example").await;
    assert_eq!(heard[..2], [5, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stays_after_its_answer_is_left_after_a_second() {
    let (mut client, io) = duplex(512);
    let target = "192.0.2.9:0".parse().unwrap();
    let requested = Requested {
        client: Inbound::new(io, Vec::new(), Version::Socks5),
        request: Request::new(Session::new(), Command::RESOLVE, target),
    };
    let began = Instant::now();

    let result = TorResolve::new(judge()).call(requested).await;

    assert!(result.is_ok());
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard[..2], [5, 0]);
}
