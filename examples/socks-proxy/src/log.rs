//! The log goes to standard error.

use std::{
    env,
    error::Error,
    io::{IsTerminal, stderr},
};

use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat};

pub fn start(args: &Args) -> Result<(), Box<dyn Error>> {
    let filter = match &args.log {
        Some(filter) => filter.clone(),
        None => env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()),
    };
    let filter = EnvFilter::try_new(&filter)
        .map_err(|error| format!("{filter:?} is no filter for the log: {error}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr);
    match args.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
