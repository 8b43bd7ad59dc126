//! A SOCKS proxy whose users each have an address of their own to come from.
//!
//! ```sh
//! cargo run -p outbound
//! ```
//!
//! It prints `listening on 127.0.0.1:1080`. The README has the commands that show
//! it.

use std::{env, net::Ipv4Addr};

use anyhow::Context;
use socks_tower::{
    AuthenticateLayer, AuthorizeLayer, BindLayer, ByCommand, ConnectLayer, Egress, HandshakeLayer,
    HasSession, IpNet, Permit, Relay, Requested, ResolveLayer, Rules, Server, SystemResolver,
    TcpConnector, UdpAssociate, Users, works::egress::SourceAddrs,
};
use tower::{Layer, ServiceBuilder};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let net = args.next().unwrap_or_else(|| "127.0.7.0/24".to_owned());
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());

    // A user keeps to one address of the network. Nothing is stored for that.
    let net: IpNet = net
        .parse()
        .context("usage: outbound [NETWORK [ADDR:PORT]]")?;
    let egress = Egress::from(SourceAddrs::from(net).by_identity());
    // But for one, who has paid for a certain one.
    let of_sue = Egress::from(Ipv4Addr::new(127, 0, 0, 25));
    for egress in [&egress, &of_sue] {
        // Now, and not at the first connection, it is heard what is amiss.
        egress.check()?;
    }

    let judged = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        // Only so that it can be tried without the Internet.
        .layer(AuthorizeLayer::new(
            Rules::new().permit_special("127.0.0.0/8".parse()?),
        ));
    let permit = judged.clone().service(Permit::new());
    let connector = TcpConnector::new().with_egress(egress.clone());
    let connect = ConnectLayer::new(judged.service(connector));
    let bind = BindLayer::new(permit.clone()).with_egress(egress.clone());
    let udp_associate = UdpAssociate::new(permit).with_egress(egress);

    let users = Users::new()
        .with("joe", "secret")?
        .with("ann", "secret")?
        .with("sue", "secret")?;
    let proxy = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::password(users))
        // For all commands, as it stands before they part.
        .map_request(move |mut requested: Requested<_>| {
            let session = requested.session_mut();
            if session
                .identity
                .as_ref()
                .is_some_and(|who| who.as_str() == "sue")
            {
                session.extensions.insert(of_sue.clone());
            }
            requested
        })
        .service(
            ByCommand::new()
                .udp_associate(udp_associate)
                .bind(bind.layer(Relay::new()))
                .connect(connect.layer(Relay::new())),
        );

    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr());
    server.serve(proxy).await?;
    Ok(())
}
