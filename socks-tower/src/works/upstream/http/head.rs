//! The head of an answer, and not a byte more.

use std::io;

use httparse::{EMPTY_HEADER, Response, Status as Parsed};
use tokio::io::AsyncReadExt;

use super::{
    super::{
        UpstreamError, UpstreamFailure,
        handshake::{broke, hung_up},
    },
    Status,
};
use crate::session::{Stream, tcp};

/// The longest head, in bytes, with one look more.
const MAX_LEN: usize = 64 * 1024;

/// The most fields of a head.
const MAX_FIELDS: usize = 64;

/// What one look at a socket takes in.
const LOOK: usize = 512;

/// The shortest head: `HTTP/1.1 200`, and two ends of a line.
const MIN_LEN: usize = 14;

/// Why a head is none.
#[derive(Debug, thiserror::Error)]
enum HeadError {
    #[error("the head of the answer is longer than {MAX_LEN} bytes")]
    TooLong,
    #[error("the answer is no HTTP")]
    NotHttp,
    #[error("the head of the answer is malformed")]
    Malformed(#[source] httparse::Error),
}

impl From<HeadError> for UpstreamError {
    fn from(error: HeadError) -> Self {
        Self::new(UpstreamFailure::Protocol, error)
    }
}

/// Reads the head of an answer. What follows it is the target's, and stays in `io`.
pub(super) async fn read_head<Io: Stream>(io: &mut Io) -> Result<Status, UpstreamError> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        read(io, &mut head).await.map_err(broke)?;
        let is_http = b"HTTP/1."
            .iter()
            .zip(&head)
            .all(|(one, other)| one == other);
        if !is_http {
            return Err(HeadError::NotHttp.into());
        }
        if end(&head, before).is_some() {
            return Ok(parse(&head)?);
        }
        if head.len() > MAX_LEN {
            return Err(HeadError::TooLong.into());
        }
    }
}

/// Reads some of what `head` lacks.
async fn read<Io: Stream>(io: &mut Io, head: &mut Vec<u8>) -> io::Result<()> {
    let before = head.len();
    if let Some(tcp) = tcp(io) {
        // A socket lets itself be looked into.
        head.resize(before + LOOK, 0);
        let len = tcp.peek(head.get_mut(before..).unwrap_or_default()).await?;
        head.truncate(before + len);
        head.truncate(end(head, before).unwrap_or(head.len()));
    } else {
        // Elsewhere, what is lacking at least.
        let lacking = match head.as_slice() {
            [] => MIN_LEN,
            [.., b'\n'] | [.., b'\n', b'\r'] => 1,
            _ => 2,
        };
        head.resize(before + lacking, 0);
    }
    let len = io.read(head.get_mut(before..).unwrap_or_default()).await?;
    head.truncate(before + len);
    if len == 0 { Err(hung_up()) } else { Ok(()) }
}

/// Where the head ends, of which the first `seen` bytes do not hold its end.
fn end(head: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(2);
    let rest = head.get(from..)?;
    let ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| from + at + 1)
        .find_map(|next| match head.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        })
}

fn parse(head: &[u8]) -> Result<Status, HeadError> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut response = Response::new(&mut fields);
    match response.parse(head).map_err(HeadError::Malformed)? {
        Parsed::Complete(_) => Ok(Status {
            code: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
        }),
        Parsed::Partial => Err(HeadError::NotHttp),
    }
}
