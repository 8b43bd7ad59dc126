//! Datagrams through a proxy, as a client sends them.
//!
//! ```sh
//! cargo run -p udp-client -- socks5h://127.0.0.1:1080 localhost:5300 'who is there?'
//! ```
//!
//! It sends one, waits for what comes back, and prints it.

use std::{env, time::Duration};

use anyhow::Context;
use socks_tower::{ProxyConnector, Target, works::upstream::direct};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let mut next = || args.next().context("PROXY TARGET TEXT");
    let (proxy, target, text) = (next()?.parse()?, next()?.parse::<Target>()?, next()?);

    let socket = ProxyConnector::new(proxy, direct()).associate().await?;
    // The proxy looks a name up.
    socket.send_to(text.as_bytes(), &target).await?;
    let mut answer = [0; 2048];
    let received = timeout(Duration::from_secs(5), socket.recv_from(&mut answer)).await;
    let (len, from) = received.context("nobody answers")??;
    println!("{from}: {}", String::from_utf8_lossy(&answer[..len]));
    Ok(())
}
