//! Tor's RESOLVE and RESOLVE_PTR: look-ups on the client's behalf.
//!
//! Not part of SOCKS, and served only where they are put into a
//! [`ByCommand`](crate::ByCommand). A client that must not ask its own name
//! servers, for what they would learn, asks the proxy:
//!
//! - [`TorResolve`] answers RESOLVE (F0) with an address of a name;
//! - [`TorResolvePtr`] answers RESOLVE_PTR (F1) with the name of an address.
//!
//! The answer stands where BND.ADDR does, with port 0, and then the connection
//! ends.
//!
//! [`Socks::with_lookups`](crate::Socks::with_lookups) is the short way to it.
//!
//! # Example
//!
//! ```
//! use std::net::IpAddr;
//! use socks_tower::{
//!     AuthenticateLayer, AuthorizeLayer, ByCommand, Command, DomainName, HandshakeLayer,
//!     TorResolve, TorResolvePtr, NoAuth, Permit, Request, ResolveLayer, Rules, SystemResolver,
//! };
//! use tower::{BoxError, ServiceBuilder, service_fn};
//!
//! // With the feature `reverse-lookup`, `SystemResolver::reverse` is such a service.
//! let names = service_fn(|asked: Request<IpAddr>| async move {
//!     match asked.target.to_string().as_str() {
//!         "192.0.2.7" => Ok([DomainName::new("db.example")?]),
//!         _ => Err(BoxError::from("no name")),
//!     }
//! });
//! let judge = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(SystemResolver::new()))
//!     .layer(AuthorizeLayer::new(Rules::new()))
//!     .service(Permit::new());
//!
//! let commands = ByCommand::new()
//!     .on(Command::RESOLVE, TorResolve::new(judge.clone()))
//!     .on(Command::RESOLVE_PTR, TorResolvePtr::new(judge, names));
//! let proxy = ServiceBuilder::new()
//!     .layer(HandshakeLayer::new())
//!     .layer(AuthenticateLayer::new(NoAuth))
//!     .service(commands);
//! # fn check(_: impl socks_tower::Proxy<tokio::net::TcpStream>) {}
//! # check(proxy);
//! ```
//!
//! # What is answered
//!
//! What the judge permits, and nothing else: with the default
//! [`Rules`](crate::Rules), no client learns the private addresses of a name, nor
//! the names of private addresses. The rules see the command, and the port that
//! the client sends, which is 0 as a rule: one about other ports does not match.
//!
//! # Replies
//!
//! RESOLVE is answered with an IPv4 address where there is one, as Tor does by
//! default: programs that ask so, `torsocks` among them, often know no other. A
//! name that has IPv6 addresses alone is answered with the first of those.
//!
//! As for CONNECT: what is denied is 02, what cannot be found 04. SOCKS4a has
//! RESOLVE as well, and no way to say an IPv6 address: a name that has no other
//! is 91. RESOLVE_PTR about a name is 08, address type not supported; in SOCKS4,
//! whose replies have no room for a name, it is not served.

mod resolve;
mod resolve_ptr;

pub use resolve::{TorResolve, TorResolveFuture};
pub use resolve_ptr::{TorResolvePtr, TorResolvePtrFuture};

use std::{future::Future, net::IpAddr, pin::Pin};

use socks_core::{Target, v5::Command};

use crate::session::{
    Error, ErrorKind, Inbound, Judge, Pinned, Refusal, Request, Requested, Stream, Transfer,
    dismiss,
};

type BoxAnswer = Pin<Box<dyn Future<Output = Result<Transfer, Error>> + Send>>;

/// Serves one `command`: tells the client what `find` finds, and ends.
async fn answer<Io, F>(
    command: Command,
    requested: Requested<Io>,
    find: impl FnOnce(Request) -> F,
) -> Result<Transfer, Error>
where
    Io: Stream,
    F: Future<Output = Result<Target, Error>>,
{
    let Requested {
        mut client,
        request,
    } = requested;
    if request.command != command {
        return Err(client.refuse(Error::bare(ErrorKind::Command)).await);
    }
    let found = client.watch(find(request)).await?;
    match found {
        Ok(found) => tell(client, &found).await,
        Err(error) => Err(client.refuse(error).await),
    }
}

async fn tell<Io: Stream>(mut client: Inbound<Io>, found: &Target) -> Result<Transfer, Error> {
    client.grant(found).await?;
    dismiss(&mut client.io, &[]).await;
    Ok(Transfer::default())
}

/// What the judge leaves of the addresses that are asked about.
async fn permitted<J>(judge: J, request: Request) -> Result<Request<Pinned>, Error>
where
    J: Judge,
{
    judge.run(request).await.map_err(Error::from_box)
}

/// Why there is nothing to answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("{0} has no address that the client can be told")]
    NoAddress(Target),
    #[error("{0} is no address")]
    NotAnAddress(Target),
    #[error("{0} has no name")]
    NoName(IpAddr),
}

impl From<NoAnswer> for Error {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::NoAddress(_) | NoAnswer::NoName(_) => Self::new(ErrorKind::Resolve, error),
            NoAnswer::NotAnAddress(_) => {
                let refusal = Refusal::address_type_not_supported(error);
                Self::new(ErrorKind::Resolve, refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests;
