//! BIND at work: a file comes by FTP in active mode, through a proxy.
//!
//! ```sh
//! cargo run -p ftp-bind
//! ```
//!
//! In active mode the server connects to the client. A client behind a proxy
//! has the proxy listen for that: CONNECT for the control connection, BIND for
//! the data. The server here knows no more of FTP than this needs.

use std::{error::Error, io, net::SocketAddr};

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, ConnectLayer, HandshakeLayer, NoAuth,
    Permit, Relay, ResolveLayer, Rules, Server, SystemResolver, TcpConnector,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_socks::{
    TargetAddr,
    tcp::socks5::{Socks5Listener, Socks5Stream},
};
use tower::{Layer, ServiceBuilder};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // One policy for both commands. All is on loopback here, so let that pass.
    let policy = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(
            Rules::new().permit_special("127.0.0.0/8".parse()?),
        ));
    let connect = ConnectLayer::new(policy.clone().service(TcpConnector::new()));
    let bind = BindLayer::new(policy.service(Permit::new()));
    let commands = ByCommand::new()
        .bind(bind.layer(Relay::new()))
        .connect(connect.layer(Relay::new()));
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(commands);
    let proxy = Server::bind("127.0.0.1:0").await?;
    let proxy_addr = proxy.local_addr();
    tokio::spawn(proxy.serve(stack));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server_addr = listener.local_addr()?;
    tokio::spawn(async move { serve(listener.accept().await?.0).await });

    // The client. It names the server as the peer that it expects.
    let mut control = BufReader::new(Socks5Stream::connect(proxy_addr, server_addr).await?);
    let data = Socks5Listener::bind(proxy_addr, server_addr).await?;
    let TargetAddr::Ip(SocketAddr::V4(bound)) = data.bind_addr() else {
        return Err("FTP's PORT takes an IPv4 address".into());
    };
    let ip = bound.ip().to_string().replace('.', ",");
    let [high, low] = bound.port().to_be_bytes();
    for command in [format!("PORT {ip},{high},{low}"), "RETR hello".to_owned()] {
        println!("> {command}");
        control
            .write_all(format!("{command}\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        control.read_line(&mut answer).await?;
        println!("< {}", answer.trim_end());
    }
    let mut file = String::new();
    data.accept().await?.read_to_string(&mut file).await?;
    println!("{file}");
    Ok(())
}

/// The server: connects to where PORT says, once RETR asks for a file.
async fn serve(control: TcpStream) -> io::Result<()> {
    let mut control = BufReader::new(control);
    let mut data_addr = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut line = String::new();
    while control.read_line(&mut line).await? > 0 {
        if let Some(numbers) = line.trim_end().strip_prefix("PORT ") {
            let numbers = numbers.split(',').map(|n| n.parse().unwrap_or(0));
            if let [a, b, c, d, high, low] = numbers.collect::<Vec<u8>>()[..] {
                data_addr = ([a, b, c, d], u16::from_be_bytes([high, low])).into();
            }
            control.write_all(b"200 I will connect there\r\n").await?;
        } else {
            let mut data = TcpStream::connect(data_addr).await?;
            data.write_all(b"Hello from an FTP server.").await?;
            control.write_all(b"226 Sent\r\n").await?;
        }
        line.clear();
    }
    Ok(())
}
