//! BIND at work: a file comes by FTP in active mode, through a proxy.
//! `cargo run -p ftp-bind` prints the talk and the file.

mod client;
mod server;

use client::Client;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, Command, ConnectLayer, HandshakeLayer,
    NoAuth, Permit, Relay, ResolveLayer, Rules, Server, SystemResolver, TcpConnector,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tower::{Layer, ServiceBuilder};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // One judge for both commands. All is on loopback here, so let that pass.
    let rules = Rules::new().permit_special("127.0.0.0/8".parse()?);
    let judged = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(rules));
    let connect = ConnectLayer::new(judged.clone().service(TcpConnector::new()));
    let bind = BindLayer::new(judged.service(Permit::new()));
    let commands = ByCommand::new()
        .bind(bind.layer(Relay::new()))
        .connect(connect.layer(Relay::new()));
    let stack = HandshakeLayer::new().layer(AuthenticateLayer::new(NoAuth).layer(commands));
    let proxy = Server::bind("127.0.0.1:0").await?;
    let proxy_addr = proxy.local_addr();
    tokio::spawn(proxy.serve(stack));

    // The client. To BIND, it names the server as the peer that it expects.
    let server_addr = server::start().await?;
    let mut control = Client::ask(proxy_addr, Command::CONNECT, server_addr).await?;
    control.reply().await?;
    let mut control = BufReader::new(control.stream);
    let mut data = Client::ask(proxy_addr, Command::BIND, server_addr).await?;
    let bound = data.reply().await?;
    let ip = bound.host.to_string().replace('.', ",");
    let [high, low] = bound.port.to_be_bytes();
    for command in [format!("PORT {ip},{high},{low}"), "RETR hello".to_owned()] {
        println!("> {command}");
        let line = format!("{command}\r\n");
        control.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        control.read_line(&mut answer).await?;
        println!("< {}", answer.trim_end());
    }
    println!("* a peer has come from {}", data.reply().await?);
    let mut file = String::new();
    data.stream.read_to_string(&mut file).await?;
    println!("{file}");
    Ok(())
}
