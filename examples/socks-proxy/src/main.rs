//! A SOCKS4, SOCKS4a and SOCKS5 proxy that one would really run.
//!
//! ```sh
//! cargo run --release -p socks-proxy -- --listen 127.0.0.1:1080
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`; then, from elsewhere,
//! `curl --proxy socks5h://127.0.0.1:1080 https://example.com/`.

mod args;
mod descriptors;
mod listen;
mod log;
mod shutdown;
mod stack;
mod users;

use std::{error::Error, io::Write, process::ExitCode};

use args::Args;
use clap::Parser;
use socks_tower::Server;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever starts it reads this, whatever the log's filter.
            eprintln!("socks-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    log::start(&args)?;
    let users = users::read(&args)?;
    listen::check(&args, users.is_some())?;
    let max_connections = match args.max_connections {
        Some(max) => max,
        None => descriptors::max_connections(),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        runtime.worker_threads(threads.get());
    }
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        let (listeners, addrs) = listen::listen(&args.listen)?;
        let shutdown = shutdown::signals()?;
        // A reader that has gone is no reason not to serve.
        let _ = writeln!(std::io::stdout(), "listening on {addrs}");

        let proxy = stack::stack(&args, users, max_connections);
        let server = Server::new(listeners)
            .with_shutdown(shutdown.first())
            .with_grace(args.grace());
        // A task of its own: waking the main one would cost a system call.
        let serving = tokio::spawn(server.serve(proxy));
        tokio::select! {
            served = serving => served??,
            () = shutdown.second() => tracing::warn!("cut by a second signal"),
        }
        Ok(())
    })
}
