//! placeholder

pub mod authenticate;
pub mod authorize;
mod client;
pub mod command;
pub mod connect;
mod error;
pub mod handshake;
mod negotiation;
mod outbound;
pub mod relay;
mod reply;
mod request;
pub mod resolve;
pub mod server;
mod session;
mod stage;
mod states;
mod stream;
mod trace;

pub use authenticate::{
    Admitted, Attempt, AuthMethod, Authenticate, AuthenticateLayer, NoAuth, UsernamePassword,
    Users, UsersError,
};
pub use authorize::{Authorize, AuthorizeLayer};
pub use client::Client;
pub use command::ByCommand;
pub use connect::{Connect, ConnectLayer};
pub use error::{BoxError, Error, ErrorKind, Refusal};
pub use handshake::{Handshake, HandshakeLayer};
pub use negotiation::Negotiation;
pub use outbound::{Outbound, Upstream};
pub use relay::{End, Relay, Transfer};
pub use reply::Dialect;
pub use request::{Pinned, Request};
pub use resolve::{Resolve, ResolveLayer};
pub use server::{Listener, Proxy, ServeError, Server, listen};
pub use session::{HasSession, Identity, Session};
pub use socks_core::{
    Credentials, DomainName, Host, Password, Target, Username,
    server::{Version, Versions},
    v4,
    v5::{Command, Method, ReplyCode},
};
pub use stage::{Connector, Stage, StageFuture, Work};
pub use states::{Accepted, Connected, Greeted, Requested};
pub use stream::{BoxStream, ClientStream, Stream, tcp};
