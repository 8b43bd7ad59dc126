//! Datagrams that one system call moves together.

use std::{
    io::{IoSlice, IoSliceMut},
    net::UdpSocket,
    os::fd::AsRawFd,
};

use anyhow::Result;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg},
};
use rustix::net::sockopt;

/// The most that one system call moves.
pub(crate) const BATCH: usize = 32;

/// Gives a socket so much room that it is not here that datagrams are lost.
pub(crate) fn roomy(socket: UdpSocket) -> Result<UdpSocket> {
    const ROOM: usize = 4 << 20;
    // More than the system's limit is for root alone.
    if sockopt::set_socket_recv_buffer_size_force(&socket, ROOM).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, ROOM)?;
    }
    Ok(socket)
}

/// Buffers for a batch of datagrams.
pub(crate) struct Batch {
    pub(crate) buffers: Vec<[u8; 2048]>,
    pub(crate) lens: Vec<usize>,
    pub(crate) peers: Vec<Option<SockaddrIn>>,
    /// Not one for both: sending leaves pointers to its addresses behind.
    to_receive: MultiHeaders<SockaddrIn>,
    to_send: MultiHeaders<SockaddrIn>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![[0; 2048]; BATCH],
            lens: Vec::with_capacity(BATCH),
            peers: Vec::with_capacity(BATCH),
            to_receive: MultiHeaders::preallocate(BATCH, None),
            to_send: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Waits for the first datagram, and takes what has come by then.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> Result<usize, Errno> {
        let slices = self.buffers.iter_mut().map(|it| [IoSliceMut::new(it)]);
        let mut slices: Vec<_> = slices.collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut self.to_receive,
            &mut slices,
            flags,
            None,
        )?;
        self.lens.clear();
        self.peers.clear();
        for datagram in received {
            self.lens.push(datagram.bytes);
            self.peers.push(datagram.address);
        }
        Ok(self.lens.len())
    }

    /// Sends as many as there are `lens`.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> Result<usize, Errno> {
        let slices = self.buffers.iter().zip(&self.lens);
        let slices: Vec<_> = slices
            .map(|(it, &len)| [IoSlice::new(&it[..len])])
            .collect();
        let flags = MsgFlags::empty();
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut self.to_send,
            &slices,
            &self.peers,
            [],
            flags,
        )?;
        Ok(sent.count())
    }
}
