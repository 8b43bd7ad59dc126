//! Datagrams there and back through an association, many at a time.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;

use crate::{
    batch::{Batch, FLIGHT},
    origin::Origin,
    proxy::Proxy,
    socks::{self, Auth},
    window::{Extent, Figures, Window},
};

const PAYLOAD: usize = 64;

/// The units are datagrams that came back; each crossed the proxy twice.
pub(crate) fn udp(proxy: &Proxy, origin: &Origin, extent: Extent) -> Result<Figures> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let own = SocketAddrV4::new(Ipv4Addr::LOCALHOST, socket.local_addr()?.port());
    let control = socks::open(proxy)?;
    let steps = socks::steps(Auth::None, socks::ASSOCIATE, own);
    let reply = socks::talk(&control, &steps)?;
    socket.connect(relay(&reply)?)?;

    let mut header = vec![0, 0, 0, 1];
    header.extend(origin.udp.ip().octets());
    header.extend(origin.udp.port().to_be_bytes());
    let len = header.len() + PAYLOAD;
    let mut out = Batch::new();
    for buffer in &mut out.buffers {
        buffer[..header.len()].copy_from_slice(&header);
        buffer[header.len()..len].fill(7);
    }
    let mut back = Batch::new();
    let mut window = Window::new(proxy, extent);
    let (mut done, mut in_flight, mut lost) = (0, 0, 0);
    loop {
        if let Some(taken) = window.tick(done)? {
            return Ok(Figures::from([
                ("datagrams/s", 2.0 * taken.units / taken.seconds),
                ("CPU µs/datagram", taken.cpu * 1e6 / (2.0 * taken.units)),
                ("lost %", lost as f64 * 100.0 / (lost + done) as f64),
            ]));
        }
        let room = FLIGHT - in_flight;
        if room > 0 {
            out.lens = vec![len; room];
            out.peers = vec![None; room];
            in_flight += out.send(&socket)?;
        }
        match back.receive(&socket) {
            Ok(count) => {
                for (buffer, &got) in back.buffers.iter().zip(&back.lens) {
                    ensure!(
                        got == len && buffer[len - PAYLOAD..len] == [7; PAYLOAD],
                        "something else came back"
                    );
                }
                done += count as u64;
                in_flight = in_flight.saturating_sub(count);
            }
            // None for so long: they are lost.
            Err(Errno::EAGAIN) => {
                lost += in_flight as u64;
                in_flight = 0;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Where a reply says that datagrams are to go.
fn relay(reply: &[u8]) -> Result<SocketAddrV4> {
    let (rest, port) = reply.split_last_chunk().context("a port")?;
    let ip = match rest {
        &[_, _, _, 1, a, b, c, d] => Ipv4Addr::new(a, b, c, d),
        // An IPv6 socket that takes IPv4 as well.
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let ip = match ip.is_unspecified() {
        true => Ipv4Addr::LOCALHOST,
        false => ip,
    };
    Ok(SocketAddrV4::new(ip, u16::from_be_bytes(*port)))
}
