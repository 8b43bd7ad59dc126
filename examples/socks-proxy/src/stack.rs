//! The proxy itself: a stack of layers.

use std::{error::Error as StdError, net::SocketAddr, sync::Once, time::Duration};

use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BindLayer, BoxError, ByCommand, Command, ConnectLayer,
    Denied, Error, HandshakeLayer, HttpConnectLayer, LoopGuard, NoAuth, Permit, Proxy, Relay,
    ResolveLayer, Rules, TcpConnector, TorResolve, TorResolvePtr, UdpAssociate, Users,
    front::proxy_protocol::ProxyProtocolLayer,
    middleware::{LiveLimitLayer, LockoutLayer},
    stages::command::RefuseCommand,
};
use tokio::net::TcpStream;
use tower::{Layer, ServiceBuilder, util::Either};

use crate::{
    args::Args,
    names::Resolver,
    ways_out::{Shared, WaysOut},
};

pub fn stack(
    args: &Args,
    users: Option<Users>,
    ways_out: Option<WaysOut>,
    resolver: Resolver,
    max_connections: usize,
    listening_on: &[SocketAddr],
) -> impl Proxy<TcpStream> + Clone + Send + use<> {
    let rules = if args.allow_private {
        Rules::new().permit_all_special()
    } else {
        Rules::new()
    };

    let guard = LoopGuard::new(listening_on.iter().copied());

    // Who may be reached, and who may come.
    let judged = ServiceBuilder::new()
        .timeout(args.connect_timeout())
        .layer(ResolveLayer::new(resolver.addrs.clone()))
        // Outside of the rules: nothing lets a loop through.
        .layer(AuthorizeLayer::new(guard.clone()))
        .layer(AuthorizeLayer::new(rules.clone()));
    let egress = args.egress();
    let tcp = TcpConnector::new()
        .with_keepalive(args.keepalive())
        .with_egress(egress.clone());
    let direct = judged.clone().service(tcp.clone());
    let explained = ServiceBuilder::new().map_err(explain_denial);
    let permit = explained.clone().service(judged.service(Permit::new()));

    // What clients may ask for. All tunnels end at the same relay.
    let relay = Relay::new()
        .with_idle_timeout(args.idle_timeout())
        .with_half_closed_timeout(args.half_closed_timeout());
    let is_direct = ways_out.is_none();
    let connect = match ways_out {
        None => Either::Left(ConnectLayer::new(explained.service(direct)).layer(relay.clone())),
        Some(ways_out) => {
            let shared = Shared {
                resolver: resolver.addrs.clone(),
                guard,
                rules,
                tcp,
                timeout: args.connect_timeout(),
            };
            let routes = ways_out.connector(args.allow_private, direct, &shared);
            Either::Right(ConnectLayer::new(explained.service(routes)).layer(relay.clone()))
        }
    };
    let bind = BindLayer::new(permit.clone())
        .with_listen_addrs(args.listen_addrs())
        .with_keepalive(args.keepalive())
        .with_egress(egress.clone())
        .layer(relay);
    let udp_associate = UdpAssociate::new(permit.clone())
        .with_listen_addrs(args.listen_addrs())
        .with_idle_timeout(args.udp_idle_timeout())
        .with_max_flows(args.udp_max_peers)
        .with_egress(egress);
    let lookup_addr = TorResolve::new(permit.clone());
    let lookup_name = TorResolvePtr::new(permit, resolver.names);
    let lookups = args.resolve_commands;
    let commands = ByCommand::new()
        .on(Command::RESOLVE, asked_for(lookups, lookup_addr))
        .on(Command::RESOLVE_PTR, asked_for(lookups, lookup_name))
        // Nothing leaves by a way that the operator did not name.
        .udp_associate(asked_for(is_direct, udp_associate))
        .bind(asked_for(args.bind, bind))
        .connect(connect);

    // How clients come in: SOCKS, or whichever of SOCKS and HTTP they speak.
    let (authenticate, http) = match users {
        Some(users) => {
            // One record of wrong passwords, whichever way they come.
            let users = ServiceBuilder::new()
                .option_layer(lockout(args))
                .map_err(BoxError::from)
                .service(users);
            (
                AuthenticateLayer::password(users.clone()),
                HttpConnectLayer::password(users),
            )
        }
        None => (AuthenticateLayer::new(NoAuth), HttpConnectLayer::open()),
    };
    let handshake = HandshakeLayer::new().with_timeout(args.handshake_timeout());
    let socks = (handshake, authenticate);
    let front = if args.no_http {
        Either::Left(socks)
    } else {
        Either::Right(http.with_timeout(args.handshake_timeout()).or(socks))
    };

    // Without any it changes nothing.
    let balancers = args
        .proxy_protocol
        .iter()
        .fold(ProxyProtocolLayer::new(), |layer, net| {
            layer.with_trusted(*net)
        });

    // Held until the session ends, too: a UDP association or a tunnel.
    let per_client = args
        .max_connections_per_client
        .map(|max| LiveLimitLayer::per_client(max.get()));

    // What happens to a client.
    ServiceBuilder::new()
        // Taken before accept, held until the session ends.
        .concurrency_limit(max_connections)
        .layer(balancers)
        .option_layer(per_client)
        .layer(front)
        .service(commands)
}

/// None unless it is asked for.
fn lockout(args: &Args) -> Option<LockoutLayer> {
    const HOUR: Duration = Duration::from_secs(60 * 60);

    let first = args.lockout_time();
    let layer = LockoutLayer::new()
        .with_max_failures(args.lockout_after?)
        .with_first_lock(first)
        .with_longest_lock(first.max(HOUR));
    Some(layer)
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
