//! Starts SOCKS proxies side by side, loads them all alike, and says what each
//! costs. See the README of this folder's parent.
//!
//! It speaks SOCKS by hand and knows none of the proxies, ours included.

mod batch;
mod beside;
mod bulk;
mod flight;
mod floor;
mod growth;
mod idle;
mod load;
mod memory;
mod noise;
mod origin;
mod page;
mod pingpong;
mod plot;
mod proxy;
mod report;
mod rounds;
mod setup;
mod socks;
mod standing;
mod starts;
mod strace;
mod targets;
mod udp;
mod window;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Parser)]
#[command(about = "Loads SOCKS proxies side by side")]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Measure, round by round
    Run(Run),
    /// Count the system calls of each proxy, by strace
    Syscalls(Syscalls),
    /// Draw the rates, times and costs of a result
    Plot {
        result: PathBuf,
        #[arg(long)]
        out: PathBuf,
    },
    /// Be a proxy that does nothing but relay: what the kernel itself allows
    Floor { mode: floor::Mode, port: u16 },
}

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    proxies: proxy::List,
    /// Rounds; tests that start a proxy for themselves have a third as many
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Length of one measurement, in seconds
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Only tests whose name contains one of these; may be given again
    #[arg(long)]
    only: Vec<String>,
    /// How often each proxy is started to see how starts differ
    #[arg(long, default_value_t = 20)]
    starts: usize,
    /// Most idle tunnels; the limit of descriptors may permit fewer
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// System calls that were counted before, to be taken into the result
    #[arg(long)]
    syscalls: Option<PathBuf>,
    /// Where to write: OUT.md and OUT.json
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
pub(crate) struct Syscalls {
    #[command(flatten)]
    proxies: proxy::List,
    /// Units of each kind
    #[arg(long, default_value_t = 2000)]
    units: u64,
    /// Where to write: OUT.md and OUT.json
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )?;
    match cli.action {
        Action::Run(run) => rounds::run(&run),
        Action::Syscalls(syscalls) => strace::run(&syscalls),
        Action::Plot { result, out } => plot::draw(&result, &out),
        Action::Floor { mode, port } => floor::serve(mode, port),
    }
}
