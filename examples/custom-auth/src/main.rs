//! A SOCKS proxy whose users are in a SQLite file.
//!
//! ```sh
//! echo secret | cargo run --release -p custom-auth -- add users.db joe
//! cargo run --release -p custom-auth -- serve users.db
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has the commands that
//! show it.

#[cfg(test)]
mod tests;
mod user_file;

use std::{env, io, time::Duration};

use anyhow::bail;
use socks_tower::{
    Attempt, AuthenticateLayer, AuthorizeLayer, ConnectLayer, HandshakeLayer, IntoAdmitted, Proxy,
    Relay, ResolveLayer, Rules, Server, SystemResolver, TcpConnector, Work,
    stages::authenticate::cache::AuthCacheLayer,
};
use tokio::net::TcpStream;
use tower::{Layer, ServiceBuilder};

use user_file::UserFile;

const USAGE: &str = "usage: custom-auth add FILE NAME < PASSWORD
       custom-auth remove FILE NAME
       custom-auth serve FILE [ADDR:PORT]";

/// Who is removed, or has a new password, is let in for this much longer.
const TTL: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["add", file, name] => {
            let mut password = String::new();
            io::stdin().read_line(&mut password)?;
            // Some shells begin what they pipe with a byte order mark.
            let password = password.trim_start_matches('\u{feff}');
            let password = password.trim_end_matches(['\r', '\n']);
            UserFile::open_or_create(file)?.add(name, password)
        }
        ["remove", file, name] => UserFile::open(file)?.remove(name),
        ["serve", file] => serve(file, "127.0.0.1:1080").await,
        ["serve", file, addr] => serve(file, addr).await,
        _ => bail!(USAGE),
    }
}

async fn serve(file: &str, addr: &str) -> anyhow::Result<()> {
    let verifier = AuthCacheLayer::new(TTL).layer(UserFile::open(file)?);
    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy(verifier)?).await?;
    Ok(())
}

/// The verifier is a service like any other: whatever answers an `Attempt` with
/// an `Identity`, or with more.
fn proxy<V>(verifier: V) -> anyhow::Result<impl Proxy<TcpStream> + Send>
where
    V: Work<Attempt, Response: IntoAdmitted>,
{
    // Only so that it can be tried without the Internet.
    let rules = Rules::new().permit_special("127.0.0.0/8".parse()?);
    let connector = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .layer(AuthorizeLayer::new(rules))
        .service(TcpConnector::new());

    Ok(ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(verifier))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new()))
}
