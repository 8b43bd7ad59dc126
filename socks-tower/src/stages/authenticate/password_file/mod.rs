//! Checks passwords against a file of hashes, as `htpasswd` makes one.
//!
//! It comes with the feature `password-file`.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use socks_tower::{AuthenticateLayer, HashedUsers, Socks, VerifyPasswords};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let file = std::env::temp_dir().join(format!("users-{}", std::process::id()));
//! # std::fs::write(&file, "joe:$2b$05$9dKUzlNLZIUAOjbNO4B.XOWIIjunkjXC9i5cEsHsk6YZ4JaQy6vPC\n")?;
//! // Made by `htpasswd -B -c users joe`.
//! let users = VerifyPasswords::new(HashedUsers::read(&file)?)?;
//! // What somebody changes in it holds some seconds later.
//! tokio::spawn(users.clone().follow(file.clone(), Duration::from_secs(5)));
//!
//! let proxy = Socks::new().with_auth(AuthenticateLayer::password(users));
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! # std::fs::remove_file(file)?;
//! # Ok(())
//! # }
//! ```
//!
//! `HttpConnectLayer::password` takes it as well; a clone of it, and both have the same
//! users, threads and memory. [`VerifyPasswords::replace`] takes users from elsewhere,
//! a database perhaps.
//!
//! # Which hashes
//!
//! | begins with | by | made by | at most |
//! |---|---|---|---|
//! | `$2y$`, `$2b$`, `$2a$` | bcrypt | `htpasswd -B`, `mkpasswd -m bcrypt` | cost 14 |
//! | `$5$`, `$6$` | SHA-crypt | `mkpasswd -m sha512crypt`, `htpasswd -5` | 1,000,000 rounds |
//! | `$argon2id$`, `$argon2i$`, `$argon2d$` | argon2 | `argon2`, [`hash_password`] | 256 MiB, and 1 GiB with all passes together |
//!
//! What asks for more is refused, since a check cannot be interrupted: the most is about
//! a second of a core. So are MD5, SHA-1, DES's crypt and passwords in clear, with the
//! number of the line. bcrypt looks at the first 72 bytes of a password alone. An empty
//! password is never right.
//!
//! # What to know
//!
//! - SOCKS authenticates every connection, and a page opens dozens. A right password is
//!   remembered for five minutes ([`with_memory`](VerifyPasswords::with_memory)), as a
//!   keyed hash whose key is random: the next connection costs a microsecond. Each user
//!   has one such place. Users that are read anew are remembered if their line is the
//!   same.
//! - Checks run on threads of their own, as many as there are cores, and clients (an IPv4
//!   address or an IPv6 /64) share them as they do the [threads of
//!   `SystemResolver`](crate::works::resolve::system#what-to-know): one that tries
//!   thousands of passwords has half of them, and a newcomer has its turn. What finds its
//!   part of the queue full is refused at once. The negotiation's deadline counts the
//!   wait; whoever has gone costs nothing any more, unless the check has begun.
//! - Those who try the same password of the same user at once wait for one check.
//! - How long a no takes does not tell whether the user exists: for a name that is not
//!   listed, the hash of another user is computed, always of the same one. Only the time
//!   of a yes is shorter, once it is remembered.
//! - A `LockoutLayer` stands around it. It counts wrong passwords, and none that could not
//!   be checked.
//! - Each thread takes the memory that a hash of argon2 asks for, while it checks one.
//!
//! # When the file changes
//!
//! A file that is wrong is not taken: the old users stand, and the log says which line it
//! is. Nor is one that is being written: [`reload`](VerifyPasswords::reload) wants to read
//! the same twice, and [`follow`](VerifyPasswords::follow) to see it unchanged for two
//! looks before. A writer that stops for longer at the end of a line cannot be told from
//! one that is done: write another file, and rename it.

mod error;
mod follow;
mod hash;
mod list;
mod verify;

pub use error::{BadLine, LineError, PasswordFileError, VerifyError};
pub use hash::{HashError, Scheme, hash_password};
pub use list::HashedUsers;
pub use verify::{VerifyPasswords, VerifyPasswordsFuture};
