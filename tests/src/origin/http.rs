//! As much of HTTP/1.1 as a client needs to fetch a body.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::content::Content;

/// Answers GET after GET until the client hangs up.
pub(super) async fn serve(mut stream: TcpStream, content: Content) {
    let (from, mut to) = stream.split();
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
    }
}
