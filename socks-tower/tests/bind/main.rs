//! BIND and Tor's look-ups on sockets, with a client that is not ours:
//! tokio-socks.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod clients;
mod ftp;
mod lookups;
mod through;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, Command, ConnectLayer, DomainName,
    HandshakeLayer, ListenAddrs, NoAuth, Permit, Relay, Request, ResolveLayer, Rules, Server,
    TcpConnector, TorResolve, TorResolvePtr,
};
use tower::{BoxError, ServiceBuilder, service_fn};

/// A proxy that serves CONNECT, BIND and the look-ups, at a port of `ip`. It
/// reaches loopback and what is public; `db.example` it resolves itself.
async fn proxy(ip: &str, listen: ListenAddrs) -> SocketAddr {
    let resolver = service_fn(
        |Request { target: name, .. }: Request<DomainName>| async move {
            match name.as_str() {
                "db.example" => Ok([IpAddr::from([127, 0, 0, 1])]),
                _ => Err(BoxError::from("no such name")),
            }
        },
    );
    let names = service_fn(|_: Request<IpAddr>| async {
        let name = DomainName::new("db.example").unwrap();
        Ok::<_, Infallible>([name])
    });
    let rules = Rules::new()
        .permit_special("127.0.0.0/8".parse().unwrap())
        .permit_special("::1/128".parse().unwrap());
    let judged = ServiceBuilder::new()
        .layer(ResolveLayer::new(resolver))
        .layer(AuthorizeLayer::new(rules));
    let permit = judged.clone().service(Permit::new());
    let connect = ConnectLayer::new(judged.service(TcpConnector::new()));
    let bind = BindLayer::new(permit.clone()).with_listen_addrs(listen);
    let commands = ByCommand::new()
        .on(Command::RESOLVE, TorResolve::new(permit.clone()))
        .on(Command::RESOLVE_PTR, TorResolvePtr::new(permit, names))
        .bind(ServiceBuilder::new().layer(bind).service(Relay::new()))
        .connect(ServiceBuilder::new().layer(connect).service(Relay::new()));
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(commands);
    let ip: IpAddr = ip.parse().unwrap();
    let server = Server::bind((ip, 0)).await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.serve(proxy));
    addr
}
