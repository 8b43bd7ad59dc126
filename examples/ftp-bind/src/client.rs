//! The client's end of CONNECT and BIND.

use std::{error::Error, net::SocketAddr};

use socks_core::{
    Decoded, Target,
    client::{Client as Protocol, Event, Offer},
    v5::Command,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A session with the proxy: the protocol is `socks-core`'s, the stream ours.
pub struct Client {
    protocol: Protocol,
    pub stream: TcpStream,
}

impl Client {
    /// Connects to `proxy` and asks; gives also the address that it answers with.
    pub async fn ask(
        proxy: SocketAddr,
        command: Command,
        target: SocketAddr,
    ) -> Result<(Self, Target), Box<dyn Error>> {
        let mut protocol = Protocol::v5(Offer::none(), command, target.into());
        let mut stream = TcpStream::connect(proxy).await?;
        let mut out = Vec::new();
        protocol.start(&mut out)?;
        stream.write_all(&out).await?;
        let mut client = Self { protocol, stream };
        let bound = client.reply().await?;
        Ok((client, bound))
    }

    /// The address of the next reply. BIND has two.
    pub async fn reply(&mut self) -> Result<Target, Box<dyn Error>> {
        let (mut input, mut out) = (Vec::new(), Vec::new());
        loop {
            match self.protocol.receive(&input, &mut out)? {
                Decoded::Complete { message, .. } => match message {
                    Event::Granted(addr) | Event::Accepted(addr) => return Ok(addr),
                    _ => input.clear(),
                },
                // No more than is missing: what follows is the file.
                Decoded::Incomplete { needed } => {
                    let len = input.len();
                    input.resize(len + needed, 0);
                    self.stream.read_exact(&mut input[len..]).await?;
                }
            }
            self.stream.write_all(&out).await?;
            out.clear();
        }
    }
}
