//! A SOCKS proxy that writes an access log: a line for each session.
//!
//! ```sh
//! cargo run -p access-log -- access.log           # as 3proxy writes it
//! cargo run -p access-log -- access.log --json
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has the commands that
//! show it.

use std::{env, fs::File, io::Write};

use anyhow::Context;
use socks_tower::{Rules, Server, Socks, middleware::AccessLogLayer};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let file = args
        .next()
        .context("usage: access-log FILE [--json] [ADDR:PORT]")?;
    let mut args = args.peekable();
    let json = args.next_if(|arg| arg == "--json").is_some();
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());

    let mut file = File::options().create(true).append(true).open(file)?;
    // Called on a thread of its own, so it may wait for a disk.
    let sink = move |line: &str| {
        if let Err(error) = file.write_all(line.as_bytes()) {
            eprintln!("cannot write the log: {error}");
        }
    };
    let access_log = if json {
        AccessLogLayer::json(sink)
    } else {
        AccessLogLayer::three_proxy(sink)
    };

    let proxy = ServiceBuilder::new()
        .layer(access_log.clone())
        // Only so that it can be tried without the Internet.
        .service(Socks::new().with_rules(Rules::new().permit_special("127.0.0.0/8".parse()?)));

    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    // Those that the shutdown cuts are in the log as well.
    server
        .with_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .serve(proxy)
        .await?;
    match access_log.dropped_lines() {
        0 => {}
        lines => eprintln!("{lines} lines were dropped"),
    }
    // As the last of it is dropped, what is left is written.
    Ok(())
}
