use std::{
    fmt, io,
    io::IoSlice,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use socket2::SockRef;
use socks_core::{
    Decode, Decoded, Encode, Host, Target,
    v5::{
        Command,
        udp::{Fragment, Header},
    },
};
use tokio::{io::Interest, net::UdpSocket};

use super::{UpstreamError, UpstreamFailure, hop::Hop};
use crate::session::{Connector, Outbound, Request, Stream, WrapsDatagrams, tcp};

/// The longest datagram with its header, in bytes.
const MAX_LEN: usize = u16::MAX as usize;

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
pub struct UpstreamUdp<Io> {
    control: Outbound<Io>,
    /// Connected to the relay: what others send does not come here.
    socket: UdpSocket,
    /// Where datagrams arrive, header and all.
    room: Mutex<Box<[u8]>>,
    /// What the method that let us in makes of them.
    wrapper: Option<WrapsDatagrams>,
}

impl<Io: Stream> UpstreamUdp<Io> {
    pub(super) async fn ask<C>(hop: Hop<C>) -> Result<Self, UpstreamError>
    where
        C: Connector<Request, Io = Io>,
    {
        let proxy = hop.way().proxy.clone();
        // We do not know yet where we send from, and may say so (RFC 1928 section 4).
        let mut wrapper = None;
        let asked = hop.ask(Command::UDP_ASSOCIATE, Target::UNSPECIFIED, &mut wrapper);
        let (control, _, bound) = asked.await?;
        let opened = async {
            let relay = relay(&control, &bound).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::AddrNotAvailable,
                    "the proxy does not say where",
                )
            })?;
            let any = match relay.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect(relay).await?;
            Ok::<_, io::Error>(socket)
        };
        match opened.await {
            Ok(socket) => Ok(Self {
                control,
                socket,
                room: Mutex::new(vec![0; MAX_LEN].into()),
                wrapper,
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
        let header = Header {
            fragment: Fragment::STANDALONE,
            target: target.clone(),
        };
        let header = header.to_bytes();
        let mut wrapped = Vec::new();
        let parts = match &self.wrapper {
            None => [IoSlice::new(&header), IoSlice::new(payload)],
            Some(wrapper) => {
                if !wrapper.0.wrap(&[&header, payload].concat(), &mut wrapped) {
                    return Err(io::Error::other("the datagram cannot be wrapped"));
                }
                [IoSlice::new(&wrapped), IoSlice::new(&[])]
            }
        };
        let send = || SockRef::from(&self.socket).send_vectored(&parts);
        self.socket.async_io(Interest::WRITABLE, send).await?;
        Ok(())
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
    /// has ended the association, if the connection to it is plain TCP.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, Target)> {
        tokio::select! {
            biased;
            received = self.receive(buf) => received,
            ended = self.ended() => Err(ended),
        }
    }

    async fn receive(&self, buf: &mut [u8]) -> io::Result<(usize, Target)> {
        loop {
            let received = self.socket.async_io(Interest::READABLE, || {
                let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
                let len = self.socket.try_recv(&mut room)?;
                let mut datagram = room.get_mut(..len).unwrap_or_default();
                if let Some(wrapper) = &self.wrapper {
                    let Some(len) = wrapper.unwrap(datagram) else {
                        return Ok(None);
                    };
                    datagram = datagram.get_mut(..len).unwrap_or_default();
                }
                Ok(take(datagram, buf))
            });
            if let Some(received) = received.await? {
                return Ok(received);
            }
        }
    }

    /// Waits until the proxy has ended the association.
    async fn ended(&self) -> io::Error {
        let Some(tcp) = tcp(&self.control.io) else {
            return std::future::pending().await;
        };
        let said = tcp.peek(&mut [0]).await;
        match said {
            Ok(1..) => std::future::pending().await,
            Ok(0) => io::Error::new(io::ErrorKind::ConnectionAborted, "the proxy hung up"),
            Err(error) => error,
        }
    }

    /// Where the proxy takes datagrams.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn relay_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
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

/// Where to send. An unspecified address, and a name, stand for the proxy's own
/// address.
fn relay<Io: Stream>(control: &Outbound<Io>, bound: &Target) -> Option<SocketAddr> {
    let ip = match bound.host {
        Host::Ip(ip) if !ip.is_unspecified() => ip,
        _ => control.tcp()?.peer_addr().ok()?.ip(),
    };
    (bound.port != 0).then_some(SocketAddr::new(ip, bound.port))
}

/// The payload of a datagram of the proxy's.
fn take(datagram: &[u8], buf: &mut [u8]) -> Option<(usize, Target)> {
    let Ok(Decoded::Complete { message, consumed }) = Header::decode(datagram) else {
        return None;
    };
    if !message.fragment.is_standalone() {
        return None;
    }
    let payload = datagram.get(consumed..)?;
    let len = payload.len().min(buf.len());
    buf.get_mut(..len)?.copy_from_slice(payload.get(..len)?);
    Some((len, message.target))
}

impl<Io> fmt::Debug for UpstreamUdp<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamUdp")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}
