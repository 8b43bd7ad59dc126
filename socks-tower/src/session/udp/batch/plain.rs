//! One system call for each datagram, where the system knows no better.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use super::{Datagram, HEADROOM, LEN, Received, SLOT, System, send_one};
use crate::session::{give_way, udp::Socket};

#[derive(Debug, Default)]
pub(crate) struct Plain;

impl System for Plain {
    fn poll_receive(
        &mut self,
        socket: &Socket,
        slots: &mut [u8],
        received: &mut [Received; LEN],
        cx: &mut Context<'_>,
    ) -> Poll<usize> {
        let mut count = 0;
        let mut slots = slots.chunks_exact_mut(SLOT);
        for place in received {
            let slot = slots.next().and_then(|slot| slot.get_mut(HEADROOM..));
            match poll_receive_one(socket, slot.unwrap_or_default(), cx) {
                Poll::Ready(Ok((len, from))) => {
                    *place = Received { len, from };
                    count += 1;
                }
                // It says something of one that was sent before. Stop at what
                // came so far, so that slots and places keep step.
                Poll::Ready(Err(_)) => {
                    give_way(cx);
                    break;
                }
                Poll::Pending => break,
            }
        }
        match count {
            0 => Poll::Pending,
            _ => Poll::Ready(count),
        }
    }

    fn try_receive(
        &mut self,
        socket: &Socket,
        slots: &mut [u8],
        received: &mut [Received; LEN],
    ) -> io::Result<usize> {
        let mut count = 0;
        for (place, slot) in received.iter_mut().zip(slots.chunks_exact_mut(SLOT)) {
            let slot = slot.get_mut(HEADROOM..).unwrap_or_default();
            match socket.try_recv_from(slot) {
                Ok((len, from)) => *place = Received { len, from },
                Err(error) if count == 0 => return Err(error),
                // Those that came go first.
                Err(_) => break,
            }
            count += 1;
        }
        Ok(count)
    }

    fn send(socket: &Socket, datagrams: &[Datagram<'_>], mut report: impl FnMut(io::Result<()>)) {
        for datagram in datagrams {
            report(send_one(socket, datagram.bytes, datagram.to));
        }
    }
}

fn poll_receive_one(
    socket: &Socket,
    slot: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<(usize, SocketAddr)>> {
    loop {
        ready!(socket.poll_readable(cx))?;
        match socket.try_recv_from(slot) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return Poll::Ready(received),
        }
    }
}
