//! A proxy with real sockets, and tunnels through it that are opened without
//! an allocation of their own.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result, ensure};
use socks_tower::{Rules, Server, Socks};

/// A proxy on a thread of its own, and both ends of each tunnel on ours.
pub(crate) struct Tunnels {
    proxy: SocketAddr,
    origin: TcpListener,
    ends: Vec<(TcpStream, TcpStream)>,
}

impl Tunnels {
    pub(crate) fn start() -> Result<Self> {
        let (send, receive) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let server = Server::bind("127.0.0.1:0").await?;
                let _ = send.send(server.local_addr());
                let proxy = Socks::new().with_rules(Rules::new().permit_all_special());
                // A task of its own, as the proxy has it.
                tokio::spawn(server.serve(proxy)).await??;
                anyhow::Ok(())
            })
        });
        Ok(Self {
            proxy: receive.recv().context("the proxy did not start")?,
            origin: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
            ends: Vec::with_capacity(1024),
        })
    }

    /// Opens `count` tunnels and moves data through each, both ways.
    pub(crate) fn open(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            let end = self.open_one()?;
            self.ends.push(end);
        }
        Ok(())
    }

    fn open_one(&self) -> Result<(TcpStream, TcpStream)> {
        let SocketAddr::V4(origin) = self.origin.local_addr()? else {
            unreachable!("it listens on IPv4")
        };
        let mut client = TcpStream::connect(self.proxy)?;
        client.set_nodelay(true)?;
        let mut reply = [0; 10];
        client.write_all(b"\x05\x01\x00")?;
        client.read_exact(&mut reply[..2])?;
        let mut request = *b"\x05\x01\x00\x01\0\0\0\0\0\0";
        request[4..8].copy_from_slice(&origin.ip().octets());
        request[8..].copy_from_slice(&origin.port().to_be_bytes());
        client.write_all(&request)?;
        client.read_exact(&mut reply)?;
        ensure!(reply[1] == 0, "reply {}", reply[1]);

        let (mut target, _) = self.origin.accept()?;
        let mut data = [7; 16 * 1024];
        client.write_all(&data)?;
        target.read_exact(&mut data)?;
        target.write_all(&data)?;
        client.read_exact(&mut data)?;
        Ok((client, target))
    }

    /// Closes all, and waits until the proxy has.
    pub(crate) fn close(&mut self) -> Result<()> {
        for (client, target) in self.ends.drain(..) {
            let mut end = [0; 1];
            // The target is done first; the proxy passes that on, and ends once
            // the client is done too.
            target.shutdown(Shutdown::Write)?;
            ensure!((&client).read(&mut end)? == 0, "more than was sent");
            client.shutdown(Shutdown::Write)?;
            let _ = (&target).read(&mut end);
        }
        Ok(())
    }
}
