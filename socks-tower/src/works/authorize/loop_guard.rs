use std::{
    future::{Ready, ready},
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
};

use tower_service::Service;

use super::{denied::Denied, special::embedded};
use socks_core::v5::Command;

use crate::session::{Error, Pinned, Request, Session, always_ready, canonical, opaque_future};

/// An authorizer that keeps the proxy from connecting to itself: each turn of
/// such a loop takes another two connections, until there are none left.
///
/// It denies what leads to an address that the proxy listens on, or that the
/// client reached it by. Of a name with several addresses, the others are left.
///
/// ```
/// use socks_tower::{
///     AuthorizeLayer, LoopGuard, ResolveLayer, Rules, Server, SystemResolver, TcpConnector,
/// };
/// use tower::ServiceBuilder;
///
/// # async fn run() -> std::io::Result<()> {
/// let server = Server::bind("0.0.0.0:1080").await?;
///
/// let connector = ServiceBuilder::new()
///     .layer(ResolveLayer::new(SystemResolver::new()))
///     .layer(AuthorizeLayer::new(LoopGuard::new([server.local_addr()])))
///     .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
///     .service(TcpConnector::new());
/// # Ok(())
/// # }
/// ```
///
/// # Where it stands
///
/// As [`Rules`](super::Rules) do: in an
/// [`AuthorizeLayer`](super::AuthorizeLayer) inside of
/// [`ResolveLayer`](crate::ResolveLayer), before or behind them. `Rules` alone
/// deny loopback and private addresses; the guard is for when these are lifted,
/// and for public ones. The client hears 02, connection not allowed by ruleset
/// (SOCKS4: 91). It comes with the feature `loop-guard`.
///
/// # What it knows
///
/// - A listener on `0.0.0.0` or `::` listens on all addresses of the machine.
///   Whether a target is one of them it asks the system, by binding a UDP
///   socket to it: three system calls, for targets with the listener's port
///   alone. `::` counts for IPv4 too. With the sysctl `ip_nonlocal_bind` every
///   address passes for one of the machine's, and all targets with that port
///   are denied: name the addresses that are listened on then. For targets
///   with another port it compares ports, and that is all.
/// - The address of a NAT or a load balancer in front is not the machine's:
///   [`with_addr`](Self::with_addr) adds it.
/// - A loop by way of another proxy is not seen. A limit per client that both
///   have bounds it.
/// - Nothing is known of names that another proxy resolves.
#[derive(Clone, Debug)]
pub struct LoopGuard {
    addrs: Arc<Vec<SocketAddr>>,
}

impl LoopGuard {
    /// Guards a proxy that listens on `addrs`.
    pub fn new(addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        let addrs = addrs.into_iter().map(canonical).collect();
        Self {
            addrs: Arc::new(addrs),
        }
    }

    /// The proxy is reached by `addr` too.
    #[must_use]
    pub fn with_addr(mut self, addr: SocketAddr) -> Self {
        Arc::make_mut(&mut self.addrs).push(canonical(addr));
        self
    }

    fn judge(&self, mut request: Request<Pinned>) -> Result<Request<Pinned>, Denied> {
        // BIND waits for its peer, and datagrams come to no listener.
        if matches!(request.command, Command::BIND | Command::UDP_ASSOCIATE) {
            return Ok(request);
        }
        let before = request.target.addrs().first().copied();
        let Request {
            session, target, ..
        } = &mut request;
        target.retain(|addr| !self.leads_here(*addr, session));
        match before {
            Some(addr) if request.target.addrs().is_empty() => Err(Denied::Loop(addr)),
            _ => Ok(request),
        }
    }

    fn leads_here(&self, target: SocketAddr, session: &Session) -> bool {
        let reached_by = session.local_addr.iter();
        let mut same_port = self
            .addrs
            .iter()
            .chain(reached_by)
            .filter(|addr| addr.port() == target.port())
            .map(SocketAddr::ip)
            .peekable();
        if same_port.peek().is_none() {
            return false;
        }
        // A gateway may bring to an IPv4 address what is sent to its IPv6 form.
        let within = match target.ip() {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(embedded(ip).map(IpAddr::V4)),
        };
        let ips: Vec<_> = within.into_iter().flatten().chain([target.ip()]).collect();
        same_port.any(|listener| ips.iter().any(|ip| hears(listener, *ip)))
    }
}

/// Whether a listener on `listener` gets what is sent to `ip`.
fn hears(listener: IpAddr, ip: IpAddr) -> bool {
    // What is sent to the unspecified address goes to loopback.
    if listener == ip || ip.is_unspecified() {
        return true;
    }
    let all = match listener {
        IpAddr::V4(listener) => listener.is_unspecified() && ip.is_ipv4(),
        IpAddr::V6(listener) => listener.is_unspecified(),
    };
    all && (ip.is_loopback() || is_of_this_machine(ip))
}

/// Only an address of the machine can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

opaque_future! {
    /// The future of [`LoopGuard`].
    LoopGuardFuture<> -> Result<Request<Pinned>, Error> = Ready<Result<Request<Pinned>, Error>>
}

impl Service<Request<Pinned>> for LoopGuard {
    type Response = Request<Pinned>;
    type Error = Error;
    type Future = LoopGuardFuture;

    always_ready!();

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        LoopGuardFuture::new(ready(self.judge(request).map_err(Error::from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(addrs: &[&str]) -> LoopGuard {
        LoopGuard::new(addrs.iter().map(|addr| addr.parse().unwrap()))
    }

    fn judge(guard: &LoopGuard, session: Session, to: &[&str]) -> Result<Vec<String>, Denied> {
        let addrs = to.iter().map(|addr| addr.parse().unwrap());
        let target = Pinned::new("example.com:1080".parse().unwrap(), addrs);
        let request = Request::new(session, Command::CONNECT, target);
        let left = guard.judge(request)?.target;
        Ok(left.addrs().iter().map(ToString::to_string).collect())
    }

    fn passes(guard: &LoopGuard, to: &str) -> bool {
        judge(guard, Session::new(), &[to]).is_ok()
    }

    #[test]
    fn the_listener_is_denied_in_all_its_forms_and_what_is_beside_it_passes() {
        let guard = guard(&["192.0.2.1:1080", "[2001:db8::1]:1081"]);
        for (to, expected) in [
            ("192.0.2.1:1080", false),
            ("[::ffff:192.0.2.1]:1080", false),
            ("[64:ff9b::192.0.2.1]:1080", false),
            ("0.0.0.0:1080", false),
            ("[::]:1080", false),
            ("[2001:db8::1]:1081", false),
            ("192.0.2.1:1081", true),
            ("192.0.2.1:80", true),
            ("192.0.2.2:1080", true),
            ("127.0.0.1:1080", true),
            ("[2001:db8::1]:1080", true),
        ] {
            assert_eq!(passes(&guard, to), expected, "{to}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_has_all_of_this_machine_s() {
        for (listener, v4, v6) in [("0.0.0.0:1080", false, true), ("[::]:1080", false, false)] {
            let guard = guard(&[listener]);
            for (to, expected) in [
                ("127.0.0.1:1080", v4),
                ("127.9.9.9:1080", v4),
                ("[::1]:1080", v6),
                ("0.0.0.0:1080", false),
                ("127.0.0.1:1081", true),
                // In documents, and on no machine.
                ("192.0.2.1:1080", true),
                ("[2001:db8::1]:1080", true),
            ] {
                assert_eq!(passes(&guard, to), expected, "{listener} {to}");
            }
        }
    }

    #[test]
    fn what_can_be_bound_is_of_this_machine() {
        assert!(is_of_this_machine([127, 0, 0, 1].into()));
        assert!(!is_of_this_machine([192, 0, 2, 1].into()));
    }

    #[test]
    fn the_address_that_the_client_came_to_is_known() {
        let guard = guard(&[]).with_addr("203.0.113.1:443".parse().unwrap());
        let session = Session::new().with_local_addr("192.0.2.1:1080".parse().unwrap());
        let denied = |to| judge(&guard, session.clone(), &[to]).err();
        let own = "192.0.2.1:1080";
        assert_eq!(denied(own), Some(Denied::Loop(own.parse().unwrap())));
        assert!(denied("203.0.113.1:443").is_some());
        assert_eq!(denied("192.0.2.1:443"), None);
    }

    #[test]
    fn commands_that_do_not_connect_pass() {
        let own: SocketAddr = "192.0.2.1:1080".parse().unwrap();
        let guard = LoopGuard::new([own]);
        for command in [Command::BIND, Command::UDP_ASSOCIATE] {
            let request = Request::new(Session::new(), command, Pinned::from(own));
            assert!(guard.judge(request).is_ok(), "{command}");
        }
    }

    #[test]
    fn of_a_name_the_other_addresses_are_left() {
        let guard = guard(&["192.0.2.1:1080"]);
        let left = judge(
            &guard,
            Session::new(),
            &["192.0.2.1:1080", "192.0.2.2:1080", "192.0.2.1:80"],
        );
        assert_eq!(left.unwrap(), ["192.0.2.2:1080", "192.0.2.1:80"]);
        assert_eq!(judge(&guard, Session::new(), &[]).unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn a_client_that_asks_for_a_loop_hears_02_or_91() {
        use tokio::io::{AsyncReadExt, duplex};
        use tower::{ServiceExt, service_fn};
        use tower_layer::Layer;

        use socks_core::server::Version;

        use crate::{
            session::Inbound,
            stages::connect::ConnectLayer,
            test_support::{MustNotBeCalled, Stop, requested},
            works::{authorize::AuthorizeLayer, resolve::ResolveLayer},
        };

        for (version, expected) in [(Version::Socks5, [5, 2]), (Version::Socks4, [0, 91])] {
            let (mut client, io) = duplex(64);
            let target = "192.0.2.1:1080".parse().unwrap();
            let request = Request::new(Session::new(), Command::CONNECT, target);
            let mut requested = requested(io, b"", request);
            requested.client = Inbound::new(requested.client.io, Vec::new(), version);
            let resolver = service_fn(async |_: Request<socks_core::DomainName>| {
                Ok::<Vec<IpAddr>, Error>(vec![])
            });
            let guarded = AuthorizeLayer::new(guard(&["192.0.2.1:1080"])).layer(MustNotBeCalled);
            let stage = ConnectLayer::new(ResolveLayer::new(resolver).layer(guarded)).layer(Stop);
            let hearing = async {
                let mut reply = [0; 2];
                client.read_exact(&mut reply).await.unwrap();
                drop(client);
                reply
            };
            let (result, reply) = tokio::join!(stage.oneshot(requested), hearing);
            assert_eq!(reply, expected);
            assert_eq!(
                result.unwrap_err().kind(),
                crate::session::ErrorKind::Denied
            );
        }
    }
}
