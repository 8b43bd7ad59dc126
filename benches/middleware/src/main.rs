//! What middleware costs: proxies that differ by it alone.
//!
//! ```sh
//! middleware bare|all|limited PORT [NAME:PASSWORD]
//! ```
//!
//! They serve as `socks-proxy` does, a runtime on each core, and write no log.

mod stack;

use std::{env, net::SocketAddr, thread::available_parallelism};

use anyhow::{Context, Result, bail};
use socks_tower::{Proxy, ThreadedServer, Users};
use tokio::{net::TcpStream, runtime};

fn main() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).collect();
    let (mode, port, user) = match &args[..] {
        [mode, port] => (mode, port, None),
        [mode, port, user] => (mode, port, Some(user)),
        _ => bail!("usage: middleware bare|all|limited PORT [NAME:PASSWORD]"),
    };
    let addr = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
    let users = match user {
        Some(user) => {
            let (name, password) = user.split_once(':').context("NAME:PASSWORD")?;
            Some(Users::new().with(name, password)?)
        }
        None => None,
    };
    match mode.as_str() {
        "bare" => serve(addr, stack::bare(users)),
        "all" => serve(addr, stack::all(users, addr)?),
        "limited" => serve(addr, stack::limited()),
        other => bail!("no mode {other:?}"),
    }
}

fn serve<S>(addr: SocketAddr, proxy: S) -> Result<()>
where
    S: Proxy<TcpStream> + Clone + Send + 'static,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = ThreadedServer::bind(&[addr], available_parallelism()?)?;
        server.serve(proxy).await?;
        Ok(())
    })
}
