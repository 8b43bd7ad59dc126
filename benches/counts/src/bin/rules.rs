//! The time to judge a request by ten rules and by ten thousand, each request
//! about another of them, so that what is in the caches counts as well. The last
//! column is without what is left when there are no rules.
//!
//! ```sh
//! cargo run --release -p counts --bin rules -- [ROUNDS]
//! ```

use std::env;

use anyhow::Result;
use counts::rules::{By, Finds, In, Judge};
use rustix::time::{ClockId, Timespec, clock_gettime};

const REQUESTS: u32 = 4096;
const PASSES: u32 = 4;

fn main() -> Result<()> {
    let rounds = env::args().nth(1).map(|arg| arg.parse()).transpose()?;
    let rounds: usize = rounds.unwrap_or(9).max(1);
    println!("| ns to judge by | 0 | 10 | 100 | 1,000 | 10,000 | 10,000 to 10 | less 0 |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for by in [By::Networks, By::Networks6, By::Domains, By::Identities] {
        for within in [In::Rules, In::Rule, In::Group] {
            if by == By::Identities && within == In::Group {
                continue;
            }
            for finds in [Finds::Any, Finds::Last, Finds::Nothing] {
                row(by, within, finds, rounds);
            }
        }
    }
    println!("\n| µs to build rules | 100 | 1,000 | 10,000 | 100,000 |\n|---|---:|---:|---:|---:|");
    for by in [By::Networks, By::Networks6, By::Domains, By::Identities] {
        building(by, rounds);
    }
    Ok(())
}

fn building(by: By, rounds: usize) {
    let mut cells = [String::new(), String::new()];
    for count in [100, 1_000, 10_000, 100_000] {
        let mut taken = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let begun = clock_gettime(ClockId::ThreadCPUTime);
            let mut judge = Judge::build(by, count);
            let built = clock_gettime(ClockId::ThreadCPUTime);
            judge.first(by);
            let judged = clock_gettime(ClockId::ThreadCPUTime);
            taken[0].push(nanos(built) - nanos(begun));
            taken[1].push(nanos(judged) - nanos(built));
        }
        for (cell, taken) in cells.iter_mut().zip(taken) {
            cell.push_str(&format!(" {} |", median(taken) / 1000));
        }
    }
    let [rules, index] = cells;
    println!("| {by:?}, the rules |{rules}\n| {by:?}, the index |{index}");
}

fn row(by: By, within: In, finds: Finds, rounds: usize) {
    let counts = [0, 10, 100, 1_000, 10_000];
    let mut judges = counts.map(|count| Judge::new(by, within, finds, count, REQUESTS));
    let mut taken = counts.map(|_| Vec::new());
    for _ in 0..rounds {
        for (judge, taken) in judges.iter_mut().zip(&mut taken) {
            // Into the caches, as far as it fits.
            judge.all();
            let begun = clock_gettime(ClockId::ThreadCPUTime);
            for _ in 0..PASSES {
                judge.all();
            }
            let ended = clock_gettime(ClockId::ThreadCPUTime);
            taken.push((nanos(ended) - nanos(begun)) / i64::from(REQUESTS * PASSES));
        }
    }
    let [none, taken @ ..] = taken.map(median);
    let [ten, .., many] = taken;
    let ratio = |many, ten| many as f64 / ten as f64;
    let (all, more) = (ratio(many, ten), ratio(many - none, ten - none));
    let taken = taken.map(|nanos| nanos.to_string()).join(" | ");
    println!("| {by:?} in {within:?}, finds {finds:?} | {none} | {taken} | {all:.2} | {more:.2} |");
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn median(mut taken: Vec<i64>) -> i64 {
    taken.sort_unstable();
    taken.get(taken.len() / 2).copied().unwrap_or_default()
}
