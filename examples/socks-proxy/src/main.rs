//! A SOCKS4, SOCKS4a and SOCKS5 proxy that one would really run.
//!
//! ```sh
//! cargo run --release -p socks-proxy -- --listen 127.0.0.1:1080
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`; then, from elsewhere,
//! `curl --proxy socks5h://127.0.0.1:1080 https://example.com/`.

mod config;
mod descriptors;
mod egress;
mod kept;
mod listen;
mod live;
mod log;
mod names;
mod parts;
mod policy;
mod reload;
mod serve;
mod shutdown;
mod stack;
mod users;
mod ways_out;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use config::{Cli, Config};
use kept::Kept;
use log::Log;
use parts::Parts;
use serve::Start;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = cli.load();
    let mut log = Log::to_stderr(
        config
            .as_ref()
            .map_or_else(|_| Default::default(), |it| it.log_format),
    );
    let begun = config.and_then(|config| log.begin(&config).map(|()| config));
    let log = Arc::new(log);
    match begun.and_then(|config| run(cli, config, &log)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.say(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, config: Config, log: &Arc<Log>) -> Result<(), Box<dyn Error>> {
    if cli.tasks.print_config {
        write!(io::stdout(), "{}", toml::to_string(&config)?)?;
        return Ok(());
    }
    let mut kept = Kept::default();
    let parts = Parts::new(&config, &mut kept)?;
    if cli.tasks.check {
        writeln!(io::stdout(), "good")?;
        return Ok(());
    }
    kept.commit();
    serve::serve(Start {
        cli: Arc::new(cli),
        config,
        parts,
        kept,
        log: Arc::clone(log),
    })
}
