//! Short connections: each negotiates, carries a byte each way, and ends.

use std::{
    collections::HashMap,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send,
        socket_with, sockopt,
    },
};

use crate::{
    origin::Origin,
    proxy::Proxy,
    socks::{self, Auth, Hear, Step},
    window::{Extent, Figures, Window},
};

const BYTE: u8 = 0x2a;

struct Client {
    io: OwnedFd,
    /// The step that it is at.
    at: usize,
    said: bool,
    heard: Vec<u8>,
}

/// Keeps `count` connections going at once; the units are connections.
pub(crate) fn setup(
    proxy: &Proxy,
    origin: &Origin,
    count: usize,
    auth: Auth,
    extent: Extent,
) -> Result<Figures> {
    let mut steps = socks::connect(auth, origin.once);
    steps.push(Step {
        say: vec![BYTE],
        hear: Hear::Exactly(vec![BYTE]),
    });
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = HashMap::new();
    // None that would be left over when they are counted.
    let mut left = match extent {
        Extent::Time(_) => u64::MAX,
        Extent::Units(units) => units,
    };
    for _ in 0..count {
        start(proxy, &epoll, &mut clients)?;
        left -= 1;
    }
    let mut window = Window::new(proxy, extent);
    let mut events = Vec::with_capacity(512);
    let (mut done, mut failed) = (0, 0);
    loop {
        if let Some(taken) = window.tick(done)? {
            ensure!(
                failed * 100 <= done,
                "{failed} connections failed, {done} did not"
            );
            return Ok(Figures::from([
                ("connections/s", taken.units / taken.seconds),
                ("CPU µs/connection", taken.cpu * 1e6 / taken.units),
            ]));
        }
        events.clear();
        let timeout = Duration::from_millis(20).try_into()?;
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            let fd = RawFd::try_from(event.data.u64())?;
            let Some(client) = clients.get_mut(&fd) else {
                continue;
            };
            match client.go_on(&steps, event.flags) {
                Ok(false) => continue,
                Ok(true) => done += 1,
                Err(error) => {
                    failed += 1;
                    if failed > 100 && failed > done || left == 0 {
                        bail!("too many connections fail: {error}");
                    }
                }
            }
            clients.remove(&fd);
            if left > 0 {
                start(proxy, &epoll, &mut clients)?;
                left -= 1;
            }
        }
    }
}

fn start(proxy: &Proxy, epoll: &OwnedFd, clients: &mut HashMap<RawFd, Client>) -> Result<()> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let io = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&io, true)?;
    match connect(&io, &proxy.addr) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => bail!("connect: {error}"),
    }
    let fd = io.as_raw_fd();
    let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(
        epoll,
        &io,
        epoll::EventData::new_u64(u64::from(fd.unsigned_abs())),
        interest,
    )?;
    let client = Client {
        io,
        at: 0,
        said: false,
        heard: Vec::with_capacity(32),
    };
    clients.insert(fd, client);
    Ok(())
}

impl Client {
    /// Does what can be done. True once the last step is done and the other
    /// side has hung up.
    fn go_on(&mut self, steps: &[Step], flags: epoll::EventFlags) -> Result<bool> {
        ensure!(
            !flags.contains(epoll::EventFlags::ERR),
            "step {}: the connection broke",
            self.at
        );
        if !flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::OUT) {
            return Ok(false);
        }
        loop {
            let step = steps.get(self.at);
            if let Some(step) = step.filter(|_| !self.said) {
                // A few bytes always fit.
                let sent = send(&self.io, &step.say, SendFlags::NOSIGNAL)?;
                ensure!(sent == step.say.len(), "step {}: short write", self.at);
                self.said = true;
                // The answer makes another edge.
                return Ok(false);
            }
            let mut part = [0; 64];
            let len = match recv(&self.io, &mut part, RecvFlags::empty()) {
                Ok((len, _)) => len,
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => bail!("step {}: {error}", self.at),
            };
            let Some(step) = step else {
                ensure!(len == 0, "more than was sent");
                return Ok(true);
            };
            ensure!(len > 0, "step {}: hung up", self.at);
            self.heard.extend(&part[..len]);
            if step.hear.is_complete(&self.heard)? {
                self.heard.clear();
                self.at += 1;
                self.said = false;
            }
        }
    }
}
