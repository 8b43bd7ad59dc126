//! `examples/fleet`: HAProxy, Redis and two nodes, by the script that is there.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

mod fleet;
mod load;
mod rolling;
mod together;
mod without_redis;

use load::USERS;

/// Flags that both nodes have: the users of the load, and `others`, all with one password;
/// a limit, so that Redis is asked about everybody; and more time for it than a node should
/// have, as a busy machine takes that.
fn flags(others: &[&str], more: &[&str]) -> Vec<String> {
    let load = (0..USERS).map(|number| format!("u{number}"));
    let users = load.chain(others.iter().map(|&user| user.to_owned()));
    let users = users.flat_map(|user| ["--user".to_owned(), format!("{user}:pw")]);
    let limit = ["--limit=per=all connections=5000", "--redis-deadline=2000"];
    let limit = limit.map(str::to_owned);
    users
        .chain(limit)
        .chain(more.iter().map(|&flag| flag.to_owned()))
        .collect()
}
