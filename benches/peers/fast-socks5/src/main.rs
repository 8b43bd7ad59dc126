//! A minimal proxy on fast-socks5, without logs, as its users would write it.
//!
//! ```sh
//! peer-fast-socks5 127.0.0.1:1080 [NAME:PASSWORD]
//! ```

use std::{
    env,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use fast_socks5::{
    ReplyError, Result, Socks5Command,
    server::{DnsResolveHelper as _, Socks5ServerProtocol, run_tcp_proxy, run_udp_proxy},
};
use tokio::net::{TcpListener, TcpStream};

const TIMEOUT: Duration = Duration::from_secs(10);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut args = env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());
    let user: &'static str = args.next().unwrap_or_default().leak();
    let listener = TcpListener::bind(addr).await?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(serve(client, user.split_once(':')));
    }
}

async fn serve(client: TcpStream, user: Option<(&'static str, &'static str)>) -> Result<()> {
    // As ours does; without it Nagle's algorithm and delayed acknowledgements meet.
    client.set_nodelay(true)?;
    let protocol = match user {
        None => Socks5ServerProtocol::accept_no_auth(client).await?,
        Some(user) => {
            let check = |name: String, password: String| (name.as_str(), password.as_str()) == user;
            Socks5ServerProtocol::accept_password_auth(client, check)
                .await?
                .0
        }
    };
    let (protocol, command, target) = protocol.read_command().await?.resolve_dns().await?;
    match command {
        Socks5Command::TCPConnect => {
            run_tcp_proxy(protocol, &target, TIMEOUT, true).await?;
        }
        Socks5Command::UDPAssociate => {
            run_udp_proxy(protocol, &target, Some(LOOPBACK), LOOPBACK, Some(LOOPBACK)).await?;
        }
        Socks5Command::TCPBind => {
            protocol
                .reply_error(&ReplyError::CommandNotSupported)
                .await?;
        }
    }
    Ok(())
}
