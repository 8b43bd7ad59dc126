//! A SOCKS proxy that writes an access log: a line for each session.
//!
//! ```sh
//! cargo run -p access-log -- access.log           # as 3proxy writes it
//! cargo run -p access-log -- access.log --json
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has the commands that
//! show it.

use std::{env, error::Error, fs::File, io::Write};

use socks_tower::{Rules, Server, Socks, middleware::AccessLogLayer};
use tower::ServiceBuilder;
use tracing_appender::non_blocking::NonBlockingBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let file = args
        .next()
        .ok_or("usage: access-log FILE [--json] [ADDR:PORT]")?;
    let mut args = args.peekable();
    let json = args.next_if(|arg| arg == "--json").is_some();
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());

    // Sessions must not wait for a disk. Lines go over a bounded queue to a
    // thread that may; what finds the queue full is dropped, and counted.
    let file = File::options().create(true).append(true).open(file)?;
    let (writer, flushed) = NonBlockingBuilder::default().lossy(true).finish(file);
    let dropped = writer.error_counter();
    let sink = move |line: &str| {
        let mut writer = writer.clone();
        // It fails once the thread is gone, at the very end.
        let _ = writer.write_all(line.as_bytes());
    };
    let access_log = if json {
        AccessLogLayer::json(sink)
    } else {
        AccessLogLayer::three_proxy(sink)
    };

    let proxy = ServiceBuilder::new()
        .layer(access_log)
        // Only so that it can be tried without the Internet.
        .service(Socks::new().with_rules(Rules::new().permit_special("127.0.0.0/8".parse()?)));

    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    // Those that the shutdown cuts are in the log as well.
    server
        .with_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .serve(proxy)
        .await?;

    // Waits until the thread has written what is left.
    drop(flushed);
    match dropped.dropped_lines() {
        0 => {}
        lines => eprintln!("{lines} lines were dropped"),
    }
    Ok(())
}
