use std::{
    fmt, io,
    io::IoSlice,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, SockRef, Type};
use socks_core::{
    Decode, Decoded, Host, Target,
    v5::{Command, udp::Header},
};
use tokio::{
    io::{AsyncReadExt, Interest},
    sync::Mutex,
};

use super::{UpstreamError, UpstreamFailure, hop::Hop};
use crate::session::{
    Connector, Outbound, Request, Stream, WrapsDatagrams,
    udp::{
        Socket,
        batch::{self, Datagram},
        header,
    },
};

/// A socket for datagrams that a proxy relays: UDP ASSOCIATE.
///
/// It lasts for as long as the proxy keeps the connection that it was asked on, and
/// for as long as this is not dropped.
///
/// ```
/// use socks_tower::{Socks5Connector, works::upstream::direct};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let connector = Socks5Connector::new("192.0.2.1:1080".parse()?, direct());
/// let socket = connector.associate().await?;
/// socket.send_to(b"question", &"dns.example:53".parse()?).await?;
/// let mut answer = [0; 512];
/// let (len, from) = socket.recv_from(&mut answer).await?;
/// # let _ = (len, from);
/// # Ok(())
/// # }
/// ```
///
/// Many datagrams by one system call: [`send_many`](Self::send_many) and
/// [`recv_many`](Self::recv_many).
pub struct UpstreamUdp<Io> {
    /// Read by one at a time, of those who wait.
    control: Mutex<Outbound<Io>>,
    /// Connected to the relay: what others send does not come here.
    socket: Socket,
    relay: Relay,
}

impl<Io: Stream> UpstreamUdp<Io> {
    pub(super) async fn ask<C>(hop: Hop<C>) -> Result<Self, UpstreamError>
    where
        C: Connector<Request, Io = Io>,
    {
        let proxy = hop.way().proxy.clone();
        // We do not know yet where we send from, and may say so (RFC 1928 section 4).
        let asked = hop.ask(Command::UDP_ASSOCIATE, Target::UNSPECIFIED).await;
        let mut control = asked?;
        let opened = || {
            let relay = Relay::take(&mut control)?;
            Ok::<_, io::Error>((open(relay.addr)?, relay))
        };
        match { opened }() {
            Ok((socket, relay)) => Ok(Self {
                control: Mutex::new(control),
                socket,
                relay,
            }),
            Err(error) => Err(UpstreamError::new(UpstreamFailure::Unreachable, error).of(proxy)),
        }
    }

    /// Sends `payload` to `target`: an address, or a name that the proxy looks up.
    ///
    /// # Errors
    ///
    /// What the system says; [`io::ErrorKind::ConnectionRefused`] for an earlier
    /// datagram that the proxy's host sent back.
    pub async fn send_to(&self, payload: &[u8], target: &Target) -> io::Result<()> {
        let header = header::towards(target.clone());
        let mut wrapped = Vec::new();
        let parts = match &self.relay.wrapper {
            None => [IoSlice::new(&header), IoSlice::new(payload)],
            Some(wrapper) => {
                if !wrapper.0.wrap(&[&header, payload].concat(), &mut wrapped) {
                    return Err(not_wrapped());
                }
                [IoSlice::new(&wrapped), IoSlice::new(&[])]
            }
        };
        let send = || SockRef::from(&self.socket.io).send_vectored(&parts);
        self.socket.async_io(Interest::WRITABLE, send).await?;
        Ok(())
    }

    /// Sends each payload to its target, as [`send_to`](Self::send_to) does: on Linux up
    /// to 32 by one system call, and those of one length for one target as one piece
    /// that is cut up late (`UDP_SEGMENT`).
    ///
    /// Says how many the system took. Dropping the future leaves some unsent.
    ///
    /// # Errors
    ///
    /// What the system says of the first that it did not take, if it took none.
    pub async fn send_many(&self, datagrams: &[(&[u8], &Target)]) -> io::Result<usize> {
        let mut taken = 0;
        let mut failed = None;
        for datagrams in datagrams.chunks(batch::LEN) {
            let mut prepared = Vec::with_capacity(datagrams.len());
            for (payload, target) in datagrams {
                match self.relay.prepare(payload, target) {
                    Some(bytes) => prepared.push(bytes),
                    None => drop(failed.get_or_insert_with(not_wrapped)),
                }
            }
            let mut unsent: Vec<&[u8]> = prepared.iter().map(Vec::as_slice).collect();
            let send = || {
                let to = self.relay.addr;
                let sending: Vec<_> = unsent
                    .drain(..)
                    .map(|bytes| Datagram { bytes, to })
                    .collect();
                let mut tried = sending.iter();
                batch::send_all(&self.socket, &sending, |sent| {
                    let bytes = tried.next().map(|datagram| datagram.bytes);
                    match sent {
                        Ok(()) => taken += 1,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            unsent.extend(bytes);
                        }
                        Err(error) => drop(failed.get_or_insert(error)),
                    }
                });
                match unsent.is_empty() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::WouldBlock.into()),
                }
            };
            self.socket.async_io(Interest::WRITABLE, send).await?;
        }
        match failed {
            Some(error) if taken == 0 => Err(error),
            _ => Ok(taken),
        }
    }

    /// Receives a datagram into `buf`, and says how long it is and where from. What
    /// `buf` has no room for is lost, as with any such socket; a datagram that is none
    /// of the proxy's, or a fragment, is passed over.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// What the system says, and [`io::ErrorKind::ConnectionAborted`] once the proxy
    /// has ended the association.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, Target)> {
        let receive = || {
            batch::with(|batch| {
                let datagram = batch.try_receive_one(&self.socket)?;
                let Some((payload, from)) = self.relay.unwrap(datagram).and_then(split) else {
                    return Ok(None);
                };
                let len = payload.len().min(buf.len());
                let (room, payload) = (buf.get_mut(..len), payload.get(..len));
                room.unwrap_or_default()
                    .copy_from_slice(payload.unwrap_or_default());
                Ok(Some((len, from)))
            })
        };
        self.receive(receive).await
    }

    /// Receives what has come, at least one datagram, and shows each to `take`: its
    /// payload, and where it is from. On Linux that is up to 32 by one system call. Says
    /// how many there were; the others are passed over as by
    /// [`recv_from`](Self::recv_from).
    ///
    /// ```
    /// # async fn run(socket: socks_tower::works::upstream::UpstreamUdp<tokio::net::TcpStream>) -> std::io::Result<()> {
    /// let mut bytes = 0;
    /// let datagrams = socket.recv_many(|payload, _from| bytes += payload.len()).await?;
    /// println!("{datagrams} datagrams, {bytes} bytes");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    pub async fn recv_many(&self, mut take: impl FnMut(&[u8], Target)) -> io::Result<usize> {
        let receive = || {
            batch::with(|batch| {
                let came = batch.try_receive(&self.socket)?;
                let mut taken = 0;
                for at in 0..came {
                    if let Some(wrapper) = &self.relay.wrapper
                        && !batch.unwrap(at, wrapper)
                    {
                        continue;
                    }
                    let datagram = batch.datagram(at);
                    if let Some((payload, from)) = datagram.and_then(|(bytes, _)| split(bytes)) {
                        take(payload, from);
                        taken += 1;
                    }
                }
                Ok((taken > 0).then_some(taken))
            })
        };
        self.receive(receive).await
    }

    /// Tries `receive` until it has something to show.
    async fn receive<T>(
        &self,
        mut receive: impl FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let receiving = async {
            loop {
                let received = self.socket.async_io(Interest::READABLE, &mut receive);
                if let Some(received) = received.await? {
                    return Ok(received);
                }
            }
        };
        tokio::select! {
            biased;
            received = receiving => received,
            ended = self.ended() => Err(ended),
        }
    }

    /// Waits until the proxy has ended the association.
    async fn ended(&self) -> io::Error {
        let mut control = self.control.lock().await;
        let mut means_nothing = [0; 64];
        loop {
            match control.io.read(&mut means_nothing).await {
                Ok(1..) => {}
                Ok(0) => {
                    return io::Error::new(io::ErrorKind::ConnectionAborted, "the proxy hung up");
                }
                Err(error) => return error,
            }
        }
    }

    /// Where the proxy takes datagrams.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn relay_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.relay.addr)
    }

    /// Where we send from.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// What a proxy has said of its relay.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    /// What the method that let us in makes of datagrams.
    pub(crate) wrapper: Option<WrapsDatagrams>,
}

impl Relay {
    /// Of the association that `control` was asked for. A name stands for the proxy's
    /// own address.
    pub(crate) fn take<Io: Stream>(control: &mut Outbound<Io>) -> io::Result<Self> {
        let unsaid = || {
            let why = "the proxy does not say where it takes datagrams";
            io::Error::new(io::ErrorKind::AddrNotAvailable, why)
        };
        let bound = control.bound.take().ok_or_else(unsaid)?;
        let ip = match (&bound.addr.host, &bound.proxy.host) {
            (Host::Ip(ip), _) | (Host::Name(_), Host::Ip(ip)) => Some(*ip),
            (Host::Name(_), Host::Name(_)) => {
                let peer = control.tcp().and_then(|tcp| tcp.peer_addr().ok());
                peer.map(|peer| peer.ip())
            }
        };
        let addr = ip.map(|ip| SocketAddr::new(ip.to_canonical(), bound.addr.port));
        let addr = addr.filter(|addr| addr.port() != 0 && !addr.ip().is_unspecified());
        Ok(Self {
            addr: addr.ok_or_else(unsaid)?,
            wrapper: bound.wrapper,
        })
    }

    /// A datagram as the proxy wants it; none if it cannot be wrapped.
    fn prepare(&self, payload: &[u8], target: &Target) -> Option<Vec<u8>> {
        self.wrap([&header::towards(target.clone()), payload].concat())
    }

    /// A datagram with its header, wrapped if the proxy wants that; none if it cannot
    /// be.
    pub(crate) fn wrap(&self, datagram: Vec<u8>) -> Option<Vec<u8>> {
        let Some(wrapper) = &self.wrapper else {
            return Some(datagram);
        };
        let mut wrapped = Vec::new();
        wrapper.0.wrap(&datagram, &mut wrapped).then_some(wrapped)
    }

    fn unwrap<'a>(&self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let len = match &self.wrapper {
            Some(wrapper) => wrapper.unwrap(datagram)?,
            None => datagram.len(),
        };
        datagram.get(..len)
    }
}

fn not_wrapped() -> io::Error {
    io::Error::other("the datagram cannot be wrapped")
}

fn open(relay: SocketAddr) -> io::Result<Socket> {
    let any = match relay.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = socket2::Socket::new(Domain::for_address(relay), Type::DGRAM, None)?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    let mut socket = Socket::bind(socket, SocketAddr::new(any, 0), interest)?;
    socket.connect(relay)?;
    Ok(socket)
}

/// The payload of a datagram of the proxy's, and where it is from.
fn split(datagram: &[u8]) -> Option<(&[u8], Target)> {
    let Ok(Decoded::Complete { message, consumed }) = Header::decode(datagram) else {
        return None;
    };
    let payload = datagram.get(consumed..)?;
    let is_whole = message.fragment.is_standalone();
    is_whole.then_some((payload, message.target))
}

impl<Io> fmt::Debug for UpstreamUdp<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamUdp")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}
