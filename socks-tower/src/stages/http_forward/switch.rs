//! What becomes of a connection whose two ends speak something else than HTTP.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};

use super::{service::reset, tunnel::Switched};
use crate::session::{Rewind, Stream, dismiss};

/// What one read of a client takes.
const LEN: usize = 8 * 1024;

/// Carries what a client and its origin say to each other, beginning with what each
/// has said already, until the tunnel ends.
pub(super) async fn join<Io: Stream>(io: Io, early: Vec<u8>, origin: Switched) {
    let (near, rest) = origin.io.into_parts();
    let mut first = origin.read_buf.to_vec();
    first.extend(rest);
    let mut client = Rewind::new(early, io);
    let origin = Rewind::new(first, near);

    let carried = {
        let (mut from_client, mut to_client) = split(&mut client);
        let (mut from_origin, mut to_origin) = split(origin);
        let up = async {
            let mut space = vec![0; LEN];
            loop {
                let read = from_client.read(&mut space).await?;
                let bytes = space.get(..read).unwrap_or_default();
                // A tunnel that has ended says so the other way.
                if bytes.is_empty() || to_origin.write_all(bytes).await.is_err() {
                    break;
                }
            }
            let _ = to_origin.shutdown().await;
            std::future::pending::<io::Result<()>>().await
        };
        let down = async {
            copy(&mut from_origin, &mut to_client).await?;
            to_client.shutdown().await
        };
        tokio::select! {
            carried = down => carried,
            broken = up => broken,
        }
    };
    let (_, mut io) = client.into_parts();
    match carried {
        Ok(()) => dismiss(&mut io, b"").await,
        Err(_broken) => reset(&io),
    }
}
