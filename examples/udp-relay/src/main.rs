//! UDP ASSOCIATE at work: questions and answers go through a proxy.
//!
//! ```sh
//! cargo run -p udp-relay
//! ```
//!
//! The client is that of the crate `fast-socks5`. It has its association for as
//! long as its connection to the proxy stands, and may send to whom the judge
//! lets it.

use std::io;

use fast_socks5::{client::Socks5Datagram, util::target_addr::ToTargetAddr};
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, ByCommand, HandshakeLayer, HostsLayer, NoAuth, Permit,
    Request, ResolveLayer, Rules, Server, SystemResolver, UdpAssociate,
};
use tokio::net::{TcpStream, UdpSocket};
use tower::{Layer, ServiceBuilder};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = UdpSocket::bind("127.0.0.1:0").await?;
    let target_addr = target.local_addr()?;
    tokio::spawn(answer(target));

    // Asked about each new destination. All is on loopback here, so let that
    // pass.
    let hosts = HostsLayer::new().with_host("echo.example".parse()?, [target_addr.ip()]);
    let judge = ServiceBuilder::new()
        .map_request(show)
        .layer(ResolveLayer::new(hosts.layer(SystemResolver::new())))
        .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
        .service(Permit::new());
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .service(ByCommand::new().udp_associate(UdpAssociate::new(judge)));
    let server = Server::bind("127.0.0.1:0").await?;
    let proxy_addr = server.local_addr();
    tokio::spawn(server.serve(proxy));

    let control = TcpStream::connect(proxy_addr).await?;
    let client = Socks5Datagram::bind(control, "127.0.0.1:0").await?;
    ask(&client, target_addr, "who is there?").await?;
    ask(&client, target_addr, "still there?").await?;
    let by_name = ("echo.example", target_addr.port());
    ask(&client, by_name, "and by name?").await?;
    Ok(())
}

/// Any middleware around the judge sees the destinations, each once.
fn show(request: Request) -> Request {
    println!("judge: {} {}", request.command, request.target.host);
    request
}

/// The client's side: a datagram out, and its answer back.
async fn ask(
    client: &Socks5Datagram<TcpStream>,
    target: impl ToTargetAddr,
    question: &str,
) -> anyhow::Result<()> {
    client.send_to(question.as_bytes(), target).await?;
    let mut answer = [0; 1024];
    let (len, from) = client.recv_from(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..len]);
    let (source, _port) = from.into_string_and_port();
    println!("client: {question:?} -> {answer:?} from {source}");
    Ok(())
}

/// The target's side: it sees the proxy, and not the client.
async fn answer(socket: UdpSocket) -> io::Result<()> {
    let mut question = [0; 1024];
    loop {
        let (len, from) = socket.recv_from(&mut question).await?;
        let answer = format!("{len} bytes came");
        socket.send_to(answer.as_bytes(), from).await?;
    }
}
