//! The client's end of CONNECT and BIND: `socks-core` knows what to say.

use std::net::SocketAddr;

use anyhow::Result;
use socks_core::{Decoded, Target, client, client::Event, v5::Command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Client {
    protocol: client::Client,
    pub stream: TcpStream,
}

impl Client {
    /// Connects to `proxy` and asks it, all in one flight.
    pub async fn ask(proxy: SocketAddr, command: Command, target: SocketAddr) -> Result<Self> {
        let mut protocol = client::Client::v5_in_one_flight(None, command, target.into());
        let mut words = Vec::new();
        protocol.start(&mut words)?;
        let mut stream = TcpStream::connect(proxy).await?;
        stream.write_all(&words).await?;
        Ok(Self { protocol, stream })
    }

    /// The address in the next reply. BIND has two.
    pub async fn reply(&mut self) -> Result<Target> {
        let mut input = Vec::new();
        loop {
            match self.protocol.receive(&input, &mut Vec::new())? {
                Decoded::Incomplete { needed } => {
                    // No more than is missing: what follows is the file.
                    input.resize(input.len() + needed, 0);
                    let missing = input.len() - needed;
                    self.stream.read_exact(&mut input[missing..]).await?;
                }
                Decoded::Complete { message, .. } => match message {
                    Event::Granted(addr) | Event::Accepted(addr) => return Ok(addr),
                    _ => input.clear(),
                },
            }
        }
    }
}
