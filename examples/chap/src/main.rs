//! A SOCKS5 proxy with an authentication method of its own: CHAP, method 3, by which
//! no password crosses the network. And its client.
//!
//! ```sh
//! cargo run -p chap -- serve
//! cargo run -p chap -- get 127.0.0.1:8000 joe secret
//! ```
//!
//! The first prints `listening on 127.0.0.1:1080`. The README has more.

mod client;
mod message;
mod server;
#[cfg(test)]
mod tests;

use std::env;

use anyhow::bail;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BoxError, Command, ConnectLayer, HandshakeLayer, Proxy,
    Relay, Request, ResolveLayer, Rules, Server, Session, Socks5Connector, SystemResolver, Target,
    TcpConnector, middleware::LockoutLayer, works::upstream::direct,
};
use tokio::{
    io::{AsyncWriteExt, copy, stdout},
    net::TcpStream,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

use client::ChapClient;
use server::{Chap, Secrets};

const PROXY: &str = "127.0.0.1:1080";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve(PROXY).await,
        ["serve", addr] => serve(addr).await,
        ["get", target, name, secret] => get(PROXY, target, name, secret).await,
        ["get", target, name, secret, proxy] => get(proxy, target, name, secret).await,
        _ => bail!("usage: chap serve [ADDR:PORT]\n       chap get HOST:PORT NAME SECRET [PROXY]"),
    };
    done.map_err(anyhow::Error::from_boxed)
}

async fn serve(addr: &str) -> Result<(), BoxError> {
    let secrets = Secrets::new([("joe", "secret"), ("ann", "s3cret")])?;
    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    Ok(server.serve(proxy(secrets)?).await?)
}

/// Prints what a web server says, asked through the proxy. That has to know the secret,
/// too.
async fn get(proxy: &str, target: &str, name: &str, secret: &str) -> Result<(), BoxError> {
    let chap = ChapClient::new(name, secret)?.mutual();
    let connector = Socks5Connector::new(proxy.parse()?, direct()).with_method(chap);
    let target: Target = target.parse()?;
    let question = format!("GET / HTTP/1.0\r\nHost: {target}\r\n\r\n");
    let request = Request::new(Session::new(), Command::CONNECT, target);
    let mut stream = connector.oneshot(request).await?.io;
    stream.write_all(question.as_bytes()).await?;
    copy(&mut stream, &mut stdout()).await?;
    Ok(())
}

fn proxy(secrets: Secrets) -> Result<impl Proxy<TcpStream> + Send, BoxError> {
    // Only so that it can be tried without the Internet.
    let rules = Rules::new().permit_special("127.0.0.0/8".parse()?);
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(rules))
        .service(TcpConnector::new());

    // Whoever guesses is locked out after a while: the verifier is a service like any.
    let chap = Chap::new(LockoutLayer::new().layer(secrets));
    Ok(ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(chap))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new()))
}
