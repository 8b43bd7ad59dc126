//! The sockets that leave by an [`Egress`](super::Egress).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Settings,
    sources::{Chosen, Source},
};
#[cfg(target_os = "linux")]
use crate::session::or_without;
use crate::session::{EAFNOSUPPORT, Keepalive, Session};

/// How the sockets of one session leave. By default as the system has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    settings: Option<Arc<Settings>>,
    source: Source,
}

impl Way {
    pub(super) fn new(settings: &Arc<Settings>, session: &Session) -> Self {
        Self {
            source: settings.sources.choose(session),
            settings: Some(settings.clone()),
        }
    }

    /// Whether addresses of `family` may be sent to.
    pub(crate) fn serves(&self, family: IpAddr) -> bool {
        self.source.is_empty() || self.source.of_family(family.is_ipv4()).is_some()
    }

    /// The address to come from, if the system is not to choose.
    pub(crate) fn source(&self, family: IpAddr) -> Option<IpAddr> {
        let chosen = self.source.of_family(family.is_ipv4())?;
        (!chosen.ip.is_unspecified()).then_some(chosen.ip)
    }

    pub(crate) fn keepalive(&self, otherwise: Keepalive) -> Keepalive {
        let settings = self.settings.as_deref();
        settings.and_then(|it| it.keepalive).unwrap_or(otherwise)
    }

    /// A socket of TCP, or MPTCP, on which [`set_stream`](Self::set_stream) must be
    /// called.
    pub(crate) fn stream(&self, domain: Domain, ty: Type) -> io::Result<Socket> {
        let plain = || Socket::new(domain, ty, Some(Protocol::TCP));
        #[cfg(target_os = "linux")]
        if self.settings.as_deref().is_some_and(|it| it.mptcp) {
            return Socket::new(domain, ty, Some(Protocol::MPTCP)).or_else(|error| {
                let socket = plain()?;
                or_without("IPPROTO_MPTCP", Err(error));
                Ok(socket)
            });
        }
        plain()
    }

    /// Sets what is to be set before it is bound.
    pub(crate) fn set_stream(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        let Some(settings) = &self.settings else {
            return Ok(());
        };
        self.set(settings, socket, domain)?;
        system::set_stream(settings, socket)
    }

    /// One of TCP that is bound to nothing yet.
    pub(crate) fn listener(&self, domain: Domain, ty: Type) -> io::Result<Socket> {
        let socket = self.stream(domain, ty)?;
        self.set_stream(&socket, domain)?;
        Ok(socket)
    }

    /// A socket of UDP. It is bound to nothing yet.
    pub(crate) fn datagram(&self, domain: Domain) -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(settings) = &self.settings {
            self.set(settings, &socket, domain)?;
        }
        Ok(socket)
    }

    fn set(&self, settings: &Settings, socket: &Socket, domain: Domain) -> io::Result<()> {
        let is_v4 = domain == Domain::IPV4;
        if self.source.of_family(is_v4).is_some_and(|it| it.is_of_net) {
            system::bind_freely(socket, is_v4)?;
        }
        system::set(settings, socket, is_v4)
    }

    /// Binds a socket that will dial `addr` to the source address, if there is one.
    ///
    /// # Errors
    ///
    /// The address, and what the system says of it.
    pub(crate) fn bind(
        &self,
        socket: &Socket,
        addr: SocketAddr,
    ) -> Result<(), (IpAddr, io::Error)> {
        let Some(source) = self.source(addr.ip()) else {
            return Ok(());
        };
        // Without it an address has no more connections than ports.
        system::choose_port_late(socket);
        let bound = socket.bind(&SocketAddr::new(source, 0).into());
        bound.map_err(|error| (source, error))
    }

    /// Has a socket send nothing to `port` before there are data, if that is wanted.
    pub(crate) fn open_fast(&self, socket: &Socket, port: u16) {
        let settings = self.settings.as_deref();
        if settings.is_some_and(|it| it.fast_open.contains(&port)) {
            system::open_fast(socket);
        }
    }

    /// A socket that would send to `peer`, and has the address which that would come
    /// from. Nothing is sent for that.
    ///
    /// # Errors
    ///
    /// Where there is no route.
    pub(crate) fn towards(&self, peer: SocketAddr) -> io::Result<Socket> {
        let socket = self.datagram(Domain::for_address(peer))?;
        if let Some(source) = self.source(peer.ip()) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect(&peer.into())?;
        Ok(socket)
    }
}

/// Tries all that can be tried without a peer.
pub(super) fn check(settings: &Arc<Settings>) -> io::Result<()> {
    let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let of_system = any.map(|ip| Chosen {
        ip,
        is_of_net: false,
    });
    let is_free = settings.sources.is_empty();
    let sources: Vec<_> = match is_free {
        true => of_system.into(),
        false => settings.sources.each().collect(),
    };
    for chosen in sources {
        let way = Way {
            settings: Some(settings.clone()),
            source: Source::only(chosen),
        };
        match way.check(chosen.ip) {
            // A machine without IPv6, which nobody asked for.
            Err(error) if is_free && error.raw_os_error() == Some(EAFNOSUPPORT) => {}
            checked => checked?,
        }
    }
    Ok(())
}

impl Way {
    fn check(&self, ip: IpAddr) -> io::Result<()> {
        let addr = SocketAddr::new(ip, 0);
        let domain = Domain::for_address(addr);
        let bound = |socket: Socket| {
            let bound = socket.bind(&addr.into());
            bound.map_err(|error| named(&error, format_args!("bind to {ip}")))
        };
        bound(self.listener(domain, Type::STREAM)?)?;
        bound(self.datagram(domain)?)
    }
}

/// Says what was to be done. The system's number is lost, the kind is not.
fn named(error: &io::Error, what: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what}: {error}"))
}

#[cfg(target_os = "linux")]
mod system {
    use std::{fmt::Display, io};

    use nix::sys::socket::{setsockopt, sockopt};
    use socket2::Socket;

    use super::{Settings, named, or_without};

    /// The longest name of an interface (`IFNAMSIZ`, with its end). The kernel would
    /// cut a longer one.
    const MAX_NAME: usize = 15;

    fn needed(set: io::Result<()>, what: impl Display) -> io::Result<()> {
        set.map_err(|error| named(&error, what))
    }

    fn possible(is: bool, what: &str) -> io::Result<()> {
        match is {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, what)),
        }
    }

    pub(super) fn bind_freely(socket: &Socket, is_v4: bool) -> io::Result<()> {
        let set = match is_v4 {
            true => socket.set_freebind_v4(true),
            false => socket.set_freebind_v6(true),
        };
        needed(set, "set IP_FREEBIND")
    }

    pub(super) fn set(settings: &Settings, socket: &Socket, is_v4: bool) -> io::Result<()> {
        let Settings {
            interface,
            mark,
            dscp,
            ..
        } = settings;
        if let Some(name) = interface {
            let is_name = (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0');
            possible(is_name, "the name of an interface has 1 to 15 bytes")?;
            let set = socket.bind_device(Some(name.as_bytes()));
            needed(set, format_args!("send by interface {name}"))?;
        }
        if let Some(mark) = *mark {
            let set = socket.set_mark(mark);
            needed(set, format_args!("set the mark (SO_MARK) {mark}"))?;
        }
        if let Some(dscp) = *dscp {
            possible(dscp < 64, "DSCP is 63 at most")?;
            // Beside two bits of ECN, which the system sets.
            let class = u32::from(dscp) << 2;
            let set = match is_v4 {
                true => socket.set_tos_v4(class),
                false => socket.set_tclass_v6(class),
            };
            needed(set, format_args!("set DSCP {dscp}"))?;
        }
        Ok(())
    }

    pub(super) fn set_stream(settings: &Settings, socket: &Socket) -> io::Result<()> {
        if settings.user_timeout.is_some() {
            let set = socket.set_tcp_user_timeout(settings.user_timeout);
            needed(set, "set TCP_USER_TIMEOUT")?;
        }
        if let Some(name) = &settings.congestion {
            let set = socket.set_tcp_congestion(name.as_bytes());
            needed(set, format_args!("use congestion control {name}"))?;
        }
        Ok(())
    }

    pub(super) fn choose_port_late(socket: &Socket) {
        let set = setsockopt(socket, sockopt::IpBindAddressNoPort, &true);
        or_without("IP_BIND_ADDRESS_NO_PORT", set.map_err(io::Error::from));
    }

    pub(super) fn open_fast(socket: &Socket) {
        let set = setsockopt(socket, sockopt::TcpFastOpenConnect, &true);
        or_without("TCP_FASTOPEN_CONNECT", set.map_err(io::Error::from));
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use socket2::Socket;

    use super::Settings;

    pub(super) fn bind_freely(_: &Socket, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn set(settings: &Settings, _: &Socket, _: bool) -> io::Result<()> {
        unsupported(
            settings.interface.is_some() || settings.mark.is_some() || settings.dscp.is_some(),
        )
    }

    pub(super) fn set_stream(settings: &Settings, _: &Socket) -> io::Result<()> {
        unsupported(settings.user_timeout.is_some() || settings.congestion.is_some())
    }

    fn unsupported(is_set: bool) -> io::Result<()> {
        match is_set {
            true => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "interface, mark, DSCP, user timeout and congestion control: on Linux alone",
            )),
            false => Ok(()),
        }
    }

    pub(super) fn choose_port_late(_: &Socket) {}

    pub(super) fn open_fast(_: &Socket) {}
}
