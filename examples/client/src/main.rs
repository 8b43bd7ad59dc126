//! hyper's client through a proxy.
//!
//! ```sh
//! cargo run -p client -- http://127.0.0.1:8000/ socks5h://joe:secret@127.0.0.1:1080
//! ```
//!
//! Without a second argument, it goes the way that `ALL_PROXY` and `NO_PROXY` say.

use std::{env, time::Duration};

use anyhow::Context;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::Connect},
    rt::TokioExecutor,
};
use socks_tower::{
    ProxyConnector,
    works::upstream::{EnvConnector, EnvProxies, direct},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let url = args.next().context("which URL?")?;
    match args.next() {
        Some(proxy) => {
            let connector = ProxyConnector::new(proxy.parse()?, direct());
            fetch(connector.with_timeout(Duration::from_secs(10)), &url).await
        }
        None => fetch(EnvConnector::new(EnvProxies::from_env()?, direct()), &url).await,
    }
}

async fn fetch<C>(connector: C, url: &str) -> anyhow::Result<()>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<&[u8]>>(connector);
    let response = client.get(url.parse()?).await?;
    println!("{}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    print!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
