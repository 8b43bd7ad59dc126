//! As much of HTTP/1.1 as a client needs to fetch a body.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, split};

use crate::content::Content;

/// Answers GET after GET until the client hangs up.
pub async fn serve<Io: AsyncRead + AsyncWrite>(stream: Io, content: Content) {
    let (from, mut to) = split(stream);
    let mut lines = BufReader::new(from).lines();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    // A request without a body ends at its empty line.
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.is_empty() {
            continue;
        }
        if to.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        for chunk in content.chunks() {
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // TLS holds some back.
        let _ = to.flush().await;
    }
}
