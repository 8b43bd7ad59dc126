//! Sockets to splice between, and whether that was done.

use tokio::net::{TcpListener, TcpStream};

/// Two ends of a connection.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}

/// Pipes that the process has open: no other test of the same program may use
/// any.
pub(crate) fn pipe_ends() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let is_pipe = |link: &std::path::PathBuf| link.to_string_lossy().starts_with("pipe:");
    links.filter(is_pipe).count()
}
