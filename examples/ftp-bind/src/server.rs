//! As much of an FTP server as one file takes.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// Serves one client.
pub async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move { serve(listener.accept().await?.0).await });
    Ok(addr)
}

/// Connects to where PORT says, once RETR asks for a file.
async fn serve(control: TcpStream) -> io::Result<()> {
    let mut control = BufReader::new(control);
    let mut data_addr = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut line = String::new();
    while control.read_line(&mut line).await? > 0 {
        if let Some(numbers) = line.trim_end().strip_prefix("PORT ") {
            let numbers = numbers.split(',').map(|n| n.parse().unwrap_or(0));
            if let [a, b, c, d, high, low] = numbers.collect::<Vec<u8>>()[..] {
                data_addr = ([a, b, c, d], u16::from_be_bytes([high, low])).into();
            }
            control.write_all(b"200 I will connect there\r\n").await?;
        } else {
            let mut data = TcpStream::connect(data_addr).await?;
            data.write_all(b"Hello from an FTP server.").await?;
            control.write_all(b"226 Sent\r\n").await?;
        }
        line.clear();
    }
    Ok(())
}
