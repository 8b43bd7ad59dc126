//! Allocations of a negotiation and of a connection, and what an idle tunnel
//! keeps on the heap.
//!
//! ```sh
//! cargo run --release -p counts --bin allocations
//! cargo run --profile bench -p counts --bin allocations -- where
//! ```
//!
//! The second lists where they are made, with the stage that they belong to.

use std::{env, path::PathBuf};

use anyhow::{Context, Result, bail};
use counts::{Client, Works, accepted, negotiated};

#[path = "allocations/origins.rs"]
mod origins;
#[path = "allocations/tunnels.rs"]
mod tunnels;

use tunnels::Tunnels;

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

/// Enough that what is made once for all does not show.
const TUNNELS: u32 = 400;

fn main() -> Result<()> {
    match env::args().nth(1).as_deref() {
        None => counts(),
        Some("where") => origins(),
        Some(other) => bail!("unknown argument {other}"),
    }
}

fn counts() -> Result<()> {
    let _profiler = dhat::Profiler::builder().testing().build();
    println!("| what | allocations | bytes |\n|---|---:|---:|");
    for works in [Works::Bare, Works::Usual] {
        for client in [Client::Open, Client::Password, Client::Socks4, Client::Name] {
            // A name would be looked up.
            if (client, works) == (Client::Name, Works::Usual) {
                continue;
            }
            let (blocks, bytes) = negotiation(client, works)?;
            println!("| negotiation, {client:?}, {works:?} | {blocks} | {bytes} |");
        }
    }
    let mut tunnels = Tunnels::start()?;
    tunnels.open(20)?;
    tunnels.close()?;
    let before = dhat::HeapStats::get();
    for _ in 0..TUNNELS {
        tunnels.open(1)?;
        tunnels.close()?;
    }
    let after = dhat::HeapStats::get();
    let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / f64::from(TUNNELS);
    println!(
        "| a whole connection on sockets, Open, Usual | {:.2} | {:.0} |",
        each(before.total_blocks, after.total_blocks),
        each(before.total_bytes, after.total_bytes),
    );
    let before = dhat::HeapStats::get();
    tunnels.open(TUNNELS)?;
    let after = dhat::HeapStats::get();
    println!(
        "| live in an idle tunnel that has moved data | {:.2} | {:.0} |",
        each(before.curr_blocks as u64, after.curr_blocks as u64),
        each(before.curr_bytes as u64, after.curr_bytes as u64),
    );
    tunnels.close()
}

fn negotiation(client: Client, works: Works) -> Result<(u64, u64)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let _entered = runtime.enter();
    let mut stack = negotiated(client, works);
    drop(stack(accepted(client)));
    let accepted = accepted(client);
    let before = dhat::HeapStats::get();
    drop(stack(accepted));
    let after = dhat::HeapStats::get();
    Ok((
        after.total_blocks - before.total_blocks,
        after.total_bytes - before.total_bytes,
    ))
}

fn origins() -> Result<()> {
    let file: PathBuf = env::temp_dir().join(format!("allocations.{}.json", std::process::id()));
    let mut tunnels = Tunnels::start()?;
    tunnels.open(20)?;
    let profiler = dhat::Profiler::builder()
        .file_name(&file)
        .trim_backtraces(Some(48))
        .build();
    tunnels.open(TUNNELS)?;
    drop(profiler);
    let profile = std::fs::read_to_string(&file).context("the profile")?;
    std::fs::remove_file(&file)?;
    origins::print(&profile, TUNNELS)?;
    tunnels.close()
}
