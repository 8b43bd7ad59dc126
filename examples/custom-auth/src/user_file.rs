//! UserFile in a SQLite file, their passwords hashed by Argon2id.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    thread::available_parallelism,
};

use anyhow::bail;
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use socks_tower::{Attempt, BoxError, Credentials, Identity};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tower::Service;

/// The verifier: asks the file, and computes a hash, each time.
#[derive(Clone)]
pub struct UserFile {
    file: Arc<Mutex<Connection>>,
    /// Stands in for those who are not in the file.
    nobody: Arc<str>,
    /// As many hashes at once as there are cores. Each takes 19 MiB.
    turns: Arc<Semaphore>,
}

impl UserFile {
    /// Opens the file, which is made if it is missing.
    pub fn open_or_create(file: &str) -> anyhow::Result<Self> {
        let file = Connection::open(file)?;
        file.execute_batch(
            "CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, hash TEXT NOT NULL) STRICT",
        )?;
        Self::new(file)
    }

    /// Opens the file, which must be there: a mistyped name would serve nobody.
    pub fn open(file: &str) -> anyhow::Result<Self> {
        let flags = OpenFlags::default() - OpenFlags::SQLITE_OPEN_CREATE;
        Self::new(Connection::open_with_flags(file, flags)?)
    }

    fn new(file: Connection) -> anyhow::Result<Self> {
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
            nobody: hash("")?.into(),
            turns: Arc::new(Semaphore::new(available_parallelism()?.get())),
        })
    }

    /// Adds a user, or sets the password of one.
    pub fn add(&self, name: &str, password: &str) -> anyhow::Result<()> {
        let empty = name.is_empty() || password.is_empty();
        if empty || Credentials::new(name, password).is_err() {
            bail!("name and password have 1 to 255 bytes each (RFC 1929)");
        }
        let hash = hash(password)?;
        self.change("REPLACE INTO users VALUES (?1, ?2)", &[name, &hash])?;
        Ok(())
    }

    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        match self.change("DELETE FROM users WHERE name = ?1", &[name])? {
            0 => bail!("no user {name:?}"),
            _ => Ok(()),
        }
    }

    fn change(&self, sql: &str, values: &[&str]) -> rusqlite::Result<usize> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.execute(sql, rusqlite::params_from_iter(values))
    }

    fn hash_of(&self, name: &str) -> rusqlite::Result<Option<String>> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = "SELECT hash FROM users WHERE name = ?1";
        file.query_row(sql, [name], |row| row.get(0)).optional()
    }

    /// Takes some 20 ms of a core.
    fn check(&self, given: &Credentials) -> Result<Identity, BoxError> {
        let name = given.username.to_str().unwrap_or_default();
        // An I/O error is the file's trouble: a `LockoutLayer` around this does
        // not hold it against the client.
        let listed = self.hash_of(name).map_err(io::Error::other)?;
        // Whether somebody is listed must not show in how long it takes.
        let hash = PasswordHash::new(listed.as_deref().unwrap_or(&self.nobody))?;
        let password = given.password.as_bytes();
        let right = Argon2::default().verify_password(password, &hash).is_ok();
        match listed {
            Some(_) if right => Ok(Identity::new(name)),
            _ => Err("wrong username or password".into()),
        }
    }
}

fn hash(password: &str) -> anyhow::Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

impl Service<Attempt> for UserFile {
    type Response = Identity;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Identity, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let users = self.clone();
        Box::pin(async move {
            // Held until the hash is done, though the client may be gone by
            // then: tower's ConcurrencyLimit would let go with this future.
            let turn = Arc::clone(&users.turns).acquire_owned().await?;
            let check = move || {
                let verdict = users.check(&attempt.credentials);
                drop(turn);
                verdict
            };
            // SQLite and Argon2 block, so not on a thread that serves others.
            spawn_blocking(check).await?
        })
    }
}
