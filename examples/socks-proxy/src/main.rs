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
mod names;
mod serve;
mod shutdown;
mod stack;
mod users;
mod ways_out;

use std::{error::Error, process::ExitCode};

use args::{Args, Runtime};
use clap::Parser;
use log::Log;

fn main() -> ExitCode {
    let args = Args::parse();
    let log = Log::to_stderr(args.log_format);
    match run(args, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.say(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args, log: &Log) -> Result<(), Box<dyn Error>> {
    log.begin(&args)?;
    let users = users::read(&args)?;
    let ways_out = ways_out::read(&args)?;
    let resolver = names::Resolver::new(&args)?;
    listen::check(&args, users.is_some())?;
    args.egress().check()?;
    let max_connections = match args.max_connections {
        // More than a semaphore can count is no limit.
        Some(max) => max.get().min(tokio::sync::Semaphore::MAX_PERMITS),
        None => descriptors::max_connections(args.dns.len()),
    };
    let threads = args.threads(max_connections);
    let proxy =
        |addrs: &[_]| stack::stack(&args, users, ways_out, resolver, max_connections, addrs);
    match args.runtime {
        Runtime::PerThread => serve::per_thread(&args, threads, proxy),
        Runtime::Shared => serve::shared(&args, threads, proxy),
    }
}
