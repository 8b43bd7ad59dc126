//! The last stage: carries bytes both ways until the session ends.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use tokio::{io::AsyncWriteExt, time::Instant};
use tower_service::Service;

use crate::{Connected, Error, ErrorKind, Stream, stage::always_ready};

/// What a session moved, and why it ended.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Transfer {
    /// Bytes from the client to the target.
    pub up: u64,
    /// Bytes from the target to the client.
    pub down: u64,
    /// How long the tunnel stood.
    pub duration: Duration,
    /// Why it ended.
    pub end: End,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Both sides ended their streams in order.
    #[default]
    Closed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed")
    }
}

/// Carries bytes both ways.
#[derive(Clone, Debug, Default)]
pub struct Relay {}

impl Relay {
    /// The default timers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<Io: Stream, Up: Stream> Service<Connected<Io, Up>> for Relay {
    type Response = Transfer;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>;

    always_ready!();

    fn call(&mut self, mut connected: Connected<Io, Up>) -> Self::Future {
        Box::pin(async move {
            let started = Instant::now();
            let up = &mut connected.upstream.io;
            let failed = |error| Error::new(ErrorKind::Relay, error);
            up.write_all(&connected.client.early)
                .await
                .map_err(failed)?;
            let (a, b) = tokio::io::copy_bidirectional(&mut connected.client.io, up)
                .await
                .map_err(failed)?;
            Ok(Transfer {
                up: a,
                down: b,
                duration: started.elapsed(),
                end: End::Closed,
            })
        })
    }
}
