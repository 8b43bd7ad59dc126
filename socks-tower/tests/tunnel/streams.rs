//! Reading, resetting and waiting.

use std::{future::Future, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Longer than anything takes here, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `future`, and fails if it hangs.
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: still waiting after {PATIENCE:?}"),
    }
}

/// A target that a test plays by hand.
pub(crate) async fn target() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Accepts the connection that the proxy makes.
pub(crate) async fn accept(target: &TcpListener) -> TcpStream {
    patiently("accept", target.accept()).await.unwrap().0
}

pub(crate) async fn hears(stream: &mut TcpStream, words: &[u8]) {
    let mut found = vec![0; words.len()];
    patiently("words", stream.read_exact(&mut found))
        .await
        .unwrap();
    assert!(found == words, "other words than were sent");
}

/// Reads to an orderly end.
pub(crate) async fn all_of(stream: &mut TcpStream) -> Vec<u8> {
    let (found, error) = all_and_how(stream).await;
    assert_eq!(error, None, "after {} bytes", found.len());
    found
}

/// Reads to whatever end.
pub(crate) async fn all_and_how(stream: &mut TcpStream) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut found = Vec::new();
    let result = patiently("the end", stream.read_to_end(&mut found)).await;
    (found, result.err().map(|error| error.kind()))
}

/// Closes with a RST.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// Writes until nobody takes any more.
pub(crate) async fn clog(stream: &mut TcpStream) {
    let bytes = vec![7; 1 << 20];
    let pause = Duration::from_millis(200);
    while let Ok(written) = timeout(pause, stream.write_all(&bytes)).await {
        written.unwrap();
    }
}

/// Bytes that differ everywhere.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
