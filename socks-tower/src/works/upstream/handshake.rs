//! The client's side of SOCKS on a stream.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use socks_core::{
    Decode, Decoded, Target,
    client::{Client, Event, Offer},
    v5::{self, Command},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::timeout::error::Elapsed;

use super::{UpstreamError, UpstreamFailure, method::Methods};
use crate::session::Stream;

/// Asks the SOCKS5 proxy at the other end of `io` for a connection to `target`,
/// and gives BND.ADDR.
///
/// From then on the stream is the target's: nothing behind the reply has been
/// read. There is no deadline; put one around it.
///
/// ```
/// use socks_tower::{
///     Credentials,
///     works::upstream::{Offer, connect},
/// };
/// # async fn run(mut stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// let offer = Offer::password(Credentials::new("joe", "secret")?).or(Offer::none());
/// connect(&mut stream, offer, "example.com:443".parse()?).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the proxy does not connect to the target. The stream is of no use any more.
pub async fn connect<Io: Stream>(
    io: &mut Io,
    offer: Offer,
    target: Target,
) -> Result<Target, UpstreamError> {
    let mut client = Client::v5(offer, Command::CONNECT, target);
    socks(io, &mut client, &mut Methods::none(), &Asked::default()).await
}

/// Whether a proxy has our request.
#[derive(Debug, Default)]
pub(super) struct Asked(AtomicBool);

impl Asked {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The deadline has passed: whose fault that is depends.
    pub(super) fn too_late(&self, elapsed: Elapsed) -> UpstreamError {
        let failure = match self.0.load(Ordering::Relaxed) {
            true => UpstreamFailure::NoAnswer,
            false => UpstreamFailure::Unreachable,
        };
        UpstreamError::new(failure, elapsed)
    }
}

/// What has been received and not yet taken. No message is longer.
struct Input {
    bytes: [u8; v5::Reply::MAX_LEN],
    len: usize,
}

impl Input {
    fn received(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn take(&mut self, len: usize) {
        let len = len.min(self.len);
        self.bytes.copy_within(len..self.len, 0);
        self.len -= len;
    }

    /// Reads once, `most` bytes at most.
    async fn read(&mut self, io: &mut impl Stream, most: usize) -> io::Result<()> {
        let end = (self.len + most).min(self.bytes.len());
        let room = self.bytes.get_mut(self.len..end).unwrap_or_default();
        match io.read(room).await? {
            0 => Err(hung_up()),
            len => {
                self.len += len;
                Ok(())
            }
        }
    }
}

pub(super) fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up")
}

pub(super) fn broke(error: io::Error) -> UpstreamError {
    UpstreamError::new(UpstreamFailure::Protocol, error)
}

/// Runs `client` on `io` from the start up to the grant, and reads nothing behind it.
pub(super) async fn socks<Io: Stream>(
    io: &mut Io,
    client: &mut Client,
    methods: &mut Methods<'_>,
    asked: &Asked,
) -> Result<Target, UpstreamError> {
    let mut out = Vec::with_capacity(64);
    client.start(&mut out)?;
    answer(io, client, out, methods, asked).await
}

/// Sends `out`, and goes on up to the next answer to a request.
pub(super) async fn answer<Io: Stream>(
    io: &mut Io,
    client: &mut Client,
    mut out: Vec<u8>,
    methods: &mut Methods<'_>,
    asked: &Asked,
) -> Result<Target, UpstreamError> {
    let mut input = Input {
        bytes: [0; v5::Reply::MAX_LEN],
        len: 0,
    };
    loop {
        if !out.is_empty() {
            io.write_all(&out).await.map_err(broke)?;
            io.flush().await.map_err(broke)?;
            out.clear();
        }
        if client.is_requested() {
            asked.set();
        }
        if input.len == 0 {
            let least = client.min_remaining().max(1);
            input.read(io, least).await.map_err(broke)?;
        }
        let (event, len) = loop {
            match client.receive(input.received(), &mut out)? {
                Decoded::Complete { message, consumed } => break (message, consumed),
                Decoded::Incomplete { needed } => {
                    let all = client.min_remaining().saturating_sub(input.len);
                    input.read(io, all.max(needed)).await.map_err(broke)?;
                }
            }
        };
        input.take(len);
        match event {
            Event::Granted(bound) | Event::Accepted(bound) => return Ok(bound),
            Event::MethodSelected(code) => {
                let negotiated = methods.authenticate(code, io).await;
                negotiated
                    .map_err(|error| UpstreamError::new(UpstreamFailure::RefusedUs, error))?;
                client.authenticated(&mut out)?;
            }
            _ => {}
        }
    }
}
