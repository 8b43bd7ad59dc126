//! The sockets of an association.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
};

use socket2::Domain;
use tokio::io::Interest;

use super::own::Registered;
use crate::{
    session::{Session, udp},
    stages::listen_addrs::ListenAddrs,
    works::egress::Way,
};

/// A socket that is known to be ours as long as it is open.
#[derive(Debug)]
pub(super) struct Socket {
    inner: udp::Socket,
    /// Its address, and the one that it is advertised by.
    own: Vec<Registered>,
}

impl Deref for Socket {
    type Target = udp::Socket;

    fn deref(&self) -> &udp::Socket {
        &self.inner
    }
}

impl Socket {
    /// Opens a socket on `addr`, for addresses of its family alone, whose datagrams
    /// leave as `way` says.
    fn open(way: &Way, addr: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let socket = way.datagram(Domain::for_address(addr))?;
        // Without it, more is lost when there is much to do, and that is all.
        let _ = socket.set_recv_buffer_size(receive_buffer);
        // A datagram for which there is no room is lost.
        let inner = udp::Socket::bind(socket, addr, Interest::READABLE)?;
        let own = vec![Registered::new(inner.local_addr()?)];
        Ok(Self { inner, own })
    }

    /// Connects it to `peer`, if that changes nothing else.
    pub(super) fn connect(&mut self, peer: SocketAddr) {
        // A socket on all addresses would be bound to one, and that might not
        // be the one that `peer` sends to.
        let local = self.local_addr();
        if !self.is_connected() && local.is_ok_and(|local| !local.ip().is_unspecified()) {
            // Without it, all is as before.
            let _ = self.inner.connect(peer);
        }
    }
}

/// Opens the socket for the client at `ip`, and says which address it is told.
pub(super) fn for_client(
    addrs: &ListenAddrs,
    session: &Session,
    ip: IpAddr,
    receive_buffer: usize,
) -> io::Result<(Socket, SocketAddr)> {
    let any = SocketAddr::new(unspecified(ip), 0);
    let reached = session.local_addr;
    let reached = reached.filter(|reached| reached.is_ipv4() == ip.is_ipv4());
    // Nothing of how a session leaves goes for its client's side.
    let way = Way::default();
    let found = addrs.towards(any.ip(), session, &way);
    // The client has shown that it can reach that one.
    let mut local = match found.as_ref().map(|found| found.local) {
        Some(local) if !local.ip().is_unspecified() => local,
        _ => reached.unwrap_or(any),
    };
    local.set_port(0);
    let open = |addr| Socket::open(&way, addr, receive_buffer);
    let mut socket = match addrs.open(local, open) {
        // It is not an address of this host: a layer has it from elsewhere
        // (PROXY protocol), which may have left out its scope.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput
            ) =>
        {
            addrs.open(any, open)
        }
        opened => opened,
    }?;
    let port = socket.local_addr()?.port();
    let told = SocketAddr::new(found.map_or(local.ip(), |found| found.told), port);
    socket.own.push(Registered::new(told));
    Ok((socket, told))
}

/// The sockets towards destinations: one for each family, opened when needed.
#[derive(Debug)]
pub(super) struct Outward {
    way: Way,
    receive_buffer: usize,
    v4: Option<Socket>,
    v6: Option<Socket>,
}

impl Outward {
    pub(super) fn new(way: Way, receive_buffer: usize) -> Self {
        Self {
            way,
            receive_buffer,
            v4: None,
            v6: None,
        }
    }

    /// The socket that sends to `addr`, if it is open.
    pub(super) fn towards(&self, addr: SocketAddr) -> Option<&Socket> {
        match addr {
            SocketAddr::V4(_) => self.v4.as_ref(),
            SocketAddr::V6(_) => self.v6.as_ref(),
        }
    }

    /// Those that are open.
    pub(super) fn open(&self) -> impl Iterator<Item = &Socket> {
        [&self.v4, &self.v6].into_iter().flatten()
    }

    /// Sees to it that there is a socket that sends to `addr`.
    pub(super) fn open_towards(&mut self, addr: SocketAddr) -> io::Result<()> {
        if self.towards(addr).is_some() {
            return Ok(());
        }
        let family = addr.ip();
        if !self.way.serves(family) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let source = self.way.source(family).unwrap_or(unspecified(family));
        let socket = Socket::open(&self.way, SocketAddr::new(source, 0), self.receive_buffer)?;
        match addr {
            SocketAddr::V4(_) => self.v4 = Some(socket),
            SocketAddr::V6(_) => self.v6 = Some(socket),
        }
        Ok(())
    }

    /// Opens the socket that sends to `upstream` and receives from nowhere else.
    pub(super) fn connect(&mut self, upstream: SocketAddr) -> io::Result<()> {
        self.open_towards(upstream)?;
        let sockets = [&mut self.v4, &mut self.v6].into_iter().flatten();
        let mut sockets = sockets.filter(|socket| socket.serves(upstream));
        sockets.try_for_each(|socket| socket.inner.connect(upstream))
    }

    /// Whether the system knows a way to `addr`. Nothing is sent for that.
    pub(super) fn has_route(&self, addr: SocketAddr) -> bool {
        self.way.towards(addr).is_ok()
    }
}

fn unspecified(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
