use std::{convert::Infallible, time::Duration};

use socks_tower::{
    Accepted, AuthenticateLayer, AuthorizeLayer, ClientStream, ConnectLayer, Connected,
    HandshakeLayer, NoAuth, Outbound, Pinned, Request, ResolveLayer, Rules, Session,
    SystemResolver, Users,
};
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::Memory;

/// What the client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// SOCKS5 without authentication.
    Open,
    /// SOCKS5 with a password.
    Password,
    /// SOCKS4.
    Socks4,
    /// SOCKS5 without authentication, to a name.
    Name,
}

/// What stands between the request and the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Works {
    /// Nothing.
    Bare,
    /// What the proxy has: a timeout, the resolver, the rules.
    Usual,
}

impl Client {
    fn segments(self) -> &'static [&'static [u8]] {
        const CONNECT: &[u8] = b"\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb";
        match self {
            Self::Open => &[b"\x05\x01\x00", CONNECT],
            Self::Password => &[b"\x05\x01\x02", b"\x01\x05bench\x05bench", CONNECT],
            Self::Socks4 => &[b"\x04\x01\x01\xbb\xc0\x00\x02\x07bench\x00"],
            Self::Name => &[b"\x05\x01\x00", b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"],
        }
    }

    fn authentication(self) -> AuthenticateLayer {
        match self {
            Self::Password => {
                let users = Users::new().with("bench", "bench");
                AuthenticateLayer::password(users.unwrap_or_default())
            }
            Self::Open | Self::Socks4 | Self::Name => AuthenticateLayer::new(NoAuth),
        }
    }
}

/// A client's connection, just accepted.
#[must_use]
pub fn accepted(client: Client) -> Accepted<Memory> {
    let io = Memory::new(client.segments());
    let session = Session::new()
        .with_client_addr(([127, 0, 0, 1], 40_000).into())
        .with_local_addr(([127, 0, 0, 1], 1080).into());
    Accepted::new(io, session)
}

type Done = Connected<ClientStream<Memory>, Memory>;

/// A stack up to the reply: it ends where the relay would begin.
///
/// Boxed, so that it can be made where it is not counted.
pub fn negotiated(client: Client, works: Works) -> Box<dyn FnMut(Accepted<Memory>) -> Done> {
    let end = service_fn(|done: Done| async { Ok::<_, Infallible>(done) });
    // BND.ADDR is known, as that of a socket is, without asking the system.
    let outbound = || {
        let io = Memory::new(&[]);
        Ok::<_, Infallible>(Outbound::new(io).with_local_addr(([192, 0, 2, 1], 50_000).into()))
    };
    match works {
        Works::Bare => {
            let connector = service_fn(move |_: Request| async move { outbound() });
            let mut stack = ServiceBuilder::new()
                .layer(HandshakeLayer::new())
                .layer(client.authentication())
                .layer(ConnectLayer::new(connector))
                .service(end);
            Box::new(move |accepted| finish(&mut stack, accepted))
        }
        Works::Usual => {
            let connector = ServiceBuilder::new()
                .timeout(Duration::from_secs(10))
                .layer(ResolveLayer::new(SystemResolver::new()))
                .layer(AuthorizeLayer::new(Rules::new().permit_all_special()))
                .service(service_fn(
                    move |_: Request<Pinned>| async move { outbound() },
                ));
            let connect = ConnectLayer::new(connector).layer(end);
            let authenticate = client.authentication().layer(connect);
            let mut stack = HandshakeLayer::new().layer(authenticate);
            Box::new(move |accepted| finish(&mut stack, accepted))
        }
    }
}

fn finish<S>(stack: &mut S, accepted: Accepted<Memory>) -> Done
where
    S: Service<Accepted<Memory>, Response = Done, Error = socks_tower::Error>,
{
    match crate::once(stack.call(accepted)) {
        Ok(done) => done,
        Err(error) => panic!("the script is right: {error}"),
    }
}
