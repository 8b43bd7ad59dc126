//! The proxy itself: a stack of layers.

use std::{error::Error as StdError, net::SocketAddr, sync::Once};

use socks_tower::{
    Accepted, AuthorizeLayer, BindLayer, BoxError, BoxStream, ByCommand, Command, ConnectLayer,
    Denied, Egress, Error, HandshakeLayer, HttpForwardLayer, Keepalive, ListenAddrs, LoopGuard,
    NameRules, Permit, Pinned, Proxy, Refusal, Relay, Request, ResolveLayer, ReuseLayer, Stream,
    TcpConnector, TorResolve, TorResolvePtr, UdpAssociate,
    front::proxy_protocol::ProxyProtocolLayer, stages::command::RefuseCommand,
};
use tower::{
    Layer, ServiceBuilder, ServiceExt,
    util::{BoxCloneSyncService, Either},
};

use crate::{
    admin::Watch,
    choose::Choose,
    clients,
    config::{Config, Seconds, SourceBy},
    egress, listen,
    parts::Parts,
    shutdown::Ending,
    ways_out::{Shared, WaysOut},
};

/// What happens to a client that was let in at the listeners at those addresses.
pub fn stack(
    config: &Config,
    parts: Parts,
    listening_on: &[SocketAddr],
    watch: Option<&Watch>,
    ending: Ending,
) -> impl Proxy<BoxStream> + Clone + Send + use<> {
    let Parts {
        users,
        lockout,
        tls,
        per_client,
        limits,
        rules,
        resolver,
        ways_out,
        egress,
        listen_addrs,
        shared: _,
    } = parts;
    if let Some(watch) = watch {
        // Those of before are gone.
        watch.show(Vec::new);
    }
    let guard = LoopGuard::new(listening_on.iter().copied());

    // Who may be reached, and who may come.
    let judged = ServiceBuilder::new()
        .timeout(config.connect_timeout.duration())
        .layer(ResolveLayer::new(resolver.addrs.clone()))
        // Outside of the rules: nothing lets a loop through.
        .layer(AuthorizeLayer::new(guard.clone()))
        .layer(AuthorizeLayer::new(rules.clone()));
    let tcp = TcpConnector::new()
        .with_keepalive(keepalive(config))
        .with_egress(egress.clone());
    // Plain HTTP finds its last connection there, once it is judged.
    let direct = judged.clone().layer(ReuseLayer::new()).service(tcp.clone());
    let explained = ServiceBuilder::new().map_err(explain_denial);
    let permit = explained.clone().service(judged.service(Permit::new()));

    // What clients may ask for. All tunnels end at the same relay.
    let relay = Relay::new()
        .with_idle_timeout(config.idle_timeout.duration())
        .with_half_closed_timeout(config.half_closed_timeout.duration());
    let shared = Shared {
        resolver: resolver.addrs.clone(),
        guard,
        rules: rules.clone(),
        tcp,
        timeout: config.connect_timeout.duration(),
        watch: watch.cloned(),
        tls: ways_out.as_ref().and_then(WaysOut::tls),
    };
    let is_direct = ways_out.is_none();
    // What BIND and UDP go through, and what it is told.
    let upstream = ways_out.as_ref().and_then(|ways_out| {
        let judge = match ways_out.looks_up() {
            true => Either::Left(permit.clone().map_result(told_by_address)),
            false => {
                let names = explained.clone().map_err(BoxError::from);
                Either::Right(names.service(NameRules::new(rules)))
            }
        };
        Some((judge, ways_out.for_all_commands(&shared)?))
    });
    // Nothing leaves by a way that the operator did not name.
    let serves_all = is_direct || upstream.is_some();
    let connect = match ways_out {
        None => Either::Left(ConnectLayer::new(explained.service(direct)).layer(relay.clone())),
        Some(ways_out) => {
            let routes = ways_out.connector(config, direct, &shared);
            Either::Right(ConnectLayer::new(explained.service(routes)).layer(relay.clone()))
        }
    };
    let bind = match upstream.clone() {
        Some((judge, upstream)) => Either::Left(BindLayer::through(judge, upstream).layer(relay)),
        None => Either::Right(
            BindLayer::new(permit.clone())
                .with_listen_addrs(listen_addrs.clone())
                .with_keepalive(keepalive(config))
                .with_egress(egress.clone())
                .layer(relay),
        ),
    };
    let udp_associate = match upstream {
        Some((judge, upstream)) => {
            let udp = UdpAssociate::through(judge, upstream);
            Either::Left(set(udp, config, listen_addrs, egress.clone()))
        }
        None => {
            let udp = UdpAssociate::new(permit.clone());
            Either::Right(set(udp, config, listen_addrs, egress.clone()))
        }
    };
    let lookup_addr = TorResolve::new(permit.clone());
    let lookup_name = TorResolvePtr::new(permit, resolver.names);
    let lookups = config.resolve_commands;
    let commands = ByCommand::new()
        .on(Command::RESOLVE, asked_for(lookups, lookup_addr))
        .on(Command::RESOLVE_PTR, asked_for(lookups, lookup_name))
        .udp_associate(asked_for(serves_all && !config.no_udp, udp_associate))
        .bind(asked_for(config.bind && serves_all, bind))
        .connect(connect);

    // How clients come in: SOCKS, or whichever of SOCKS and HTTP they speak.
    let (authenticate, http) = clients::layers(config, users, lockout);
    let handshake = HandshakeLayer::new().with_timeout(config.handshake_timeout.duration());
    let socks = (handshake, authenticate);
    let front = if config.no_http {
        Either::Left(socks)
    } else {
        let http = http.with_timeout(config.handshake_timeout.duration());
        let http = HttpForwardLayer::new(http).with_end(move || ending.clone().ended());
        Either::Right(http.or(socks))
    };

    // Without any it changes nothing.
    let balancers = config
        .proxy_protocol
        .iter()
        .fold(ProxyProtocolLayer::new(), |layer, net| {
            layer.with_trusted(net.0)
        });

    // What happens to a client.
    let session = ServiceBuilder::new()
        .layer(front)
        .option_layer(watch.map(Watch::register))
        .layer(limits)
        // Its type would be in the names of all that follows, which become megabytes.
        .service(BoxCloneSyncService::new(commands));
    let plain = ServiceBuilder::new()
        .layer(balancers.clone())
        // Held until the session ends: a UDP association or a tunnel.
        .option_layer(per_client.clone())
        .service(session.clone());
    let by_incoming = config.source_by == SourceBy::Incoming;
    let from_incoming = ServiceBuilder::new()
        .option_layer(watch.map(Watch::observe))
        .map_request(move |accepted| match by_incoming {
            true => egress::as_came_to(accepted, &egress),
            false => accepted,
        });
    from_incoming.service(match tls {
        None => Either::Right(plain),
        Some(tls) => {
            let within = ServiceBuilder::new()
                .layer(balancers)
                .option_layer(per_client)
                .layer(tls)
                .map_request(boxed)
                .service(session);
            Either::Left(Choose::new(
                listen::with_tls(config, listening_on),
                within,
                plain,
            ))
        }
    })
}

/// The same client, of whatever stream.
pub fn boxed<Io: Stream>(accepted: Accepted<Io>) -> Accepted<BoxStream> {
    accepted.map_io(BoxStream::new)
}

/// An upstream that does not look names up is told the first address that is left.
fn told_by_address(judged: Result<Request<Pinned>, BoxError>) -> Result<Request, BoxError> {
    let judged = judged?;
    match judged.target.addrs().first() {
        Some(&addr) => Ok(judged.with_target(addr.into())),
        None => Err(Refusal::not_allowed("no address is left").into()),
    }
}

fn set<J>(
    udp: UdpAssociate<J>,
    config: &Config,
    listen_addrs: ListenAddrs,
    egress: Egress,
) -> UdpAssociate<J> {
    udp.with_listen_addrs(listen_addrs)
        .with_idle_timeout(config.udp_idle_timeout.duration())
        .with_max_flows(config.udp_max_peers)
        .with_receive_buffer(config.udp_receive_buffer.get())
        .with_full_cone(config.udp_full_cone)
        .with_egress(egress)
}

/// When the system asks whether a peer is still there.
pub fn keepalive(config: &Config) -> Keepalive {
    match config.keepalive {
        Seconds(0) => Keepalive::Off,
        seconds => Keepalive::After(seconds.duration()),
    }
}

/// A command that the operator has not asked for is refused as one that nobody
/// knows.
fn asked_for<S>(asked: bool, stack: S) -> Either<S, RefuseCommand> {
    if asked {
        Either::Left(stack)
    } else {
        Either::Right(RefuseCommand)
    }
}

/// Tells, once at a level that is seen and then at one that is not, how a
/// denied target can be let through.
fn explain_denial(error: BoxError) -> BoxError {
    static FIRST: Once = Once::new();

    let source = error.downcast_ref::<Error>().and_then(StdError::source);
    let denied = source.and_then(|source| source.downcast_ref());
    let reason = denied.filter(|denied| {
        matches!(
            denied,
            Denied::SpecialPurpose { .. } | Denied::LocalName(_) | Denied::UnclearName(_)
        )
    });
    if let Some(reason) = reason {
        FIRST.call_once(
            || tracing::warn!(%reason, "target denied; --allow-private lets such targets through"),
        );
        tracing::debug!(%reason, "target denied; --allow-private lets such targets through");
    }
    error
}
