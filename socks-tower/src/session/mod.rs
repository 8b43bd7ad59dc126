//! What all share: what is known of a session, and what travels from stage to
//! stage.
//!
//! Nothing here knows a stage, a work or a middleware.
//!
//! - What travels: [`Accepted`], [`Greeted`], [`Requested`], [`Connected`],
//!   [`Transfer`]. Each says what is known by then.
//! - What is known of a client: [`Session`], in which [`HasSession`] lets any
//!   layer look; [`Identity`], [`ClientKey`].
//! - What a work is asked: [`Request`], with a target or with its [`Pinned`]
//!   addresses. What it answers: a stream, or an [`Outbound`].
//! - The client's end: [`Inbound`], in whose [`Dialect`] it is answered.
//! - What fails: [`Error`], and [`Refusal`] by which a work chooses the reply.
//! - What a stage is: [`Stage`], [`StageFuture`]. What a work is: [`Work`], and of
//!   each kind [`Connector`], [`Resolver`], [`Authorizer`], [`Judge`].
//! - How sockets are kept alive: [`Keepalive`].
//! - What the relay does to bytes besides carrying them: [`policy`].

mod bulk;
mod client_key;
mod datagram_wrapper;
mod datagrams;
mod error;
#[cfg(any(feature = "gssapi", docsrs, test))]
pub(crate) mod gssapi;
mod inbound;
mod negotiation;
mod options;
mod outbound;
pub mod policy;
mod protocol;
mod reply;
mod request;
mod sealed;
#[expect(
    clippy::module_inception,
    reason = "named for the type in it, as its neighbours are"
)]
mod session;
mod stage;
mod states;
mod stream;
pub(crate) mod threads;
mod timeout;
pub(crate) mod trace;
mod transfer;
mod turn;
pub(crate) mod udp;
pub(crate) mod watch;
mod work;

pub(crate) use bulk::BulkThreads;
pub use client_key::ClientKey;
pub use datagram_wrapper::DatagramWrapper;
pub(crate) use datagram_wrapper::WrapsDatagrams;
pub use datagrams::{Datagrams, DropReason, Dropped};
#[cfg(feature = "upstream-pool")]
pub(crate) use error::cause_of;
pub use error::{BoxError, DialError, Error, ErrorKind, Refusal, RefusalError, is_outage};
pub(crate) use error::{Chain, copy_error};
pub use inbound::Inbound;
pub(crate) use inbound::dismiss;
pub use negotiation::Negotiation;
#[cfg(feature = "http-connect")]
pub(crate) use negotiation::READ_SIZE;
pub(crate) use negotiation::{DEFAULT_TIMEOUT, ReceiveError, receive};
pub use options::Keepalive;
pub(crate) use options::{needed, or_without};
pub(crate) use outbound::Bound;
#[cfg(any(feature = "http-forward", feature = "hyper"))]
pub(crate) use outbound::Guard;
pub use outbound::{IntoOutbound, Outbound};
pub use policy::{Direction, Grant, Look, Meter, Policy, Tap, Throttle};
pub use protocol::{AuthenticatedBy, OtherProtocol, Protocol};
pub use reply::{Dialect, Reply};
pub(crate) use reply::{EAFNOSUPPORT, ReplyHook, Words};
pub use request::{Pinned, Request};
pub(crate) use sealed::Sealed;
pub(crate) use session::canonical;
pub use session::{HasSession, Identity, NameSuffix, Session, SessionId};
#[cfg(feature = "http-connect")]
pub(crate) use stage::go_on;
pub(crate) use stage::{BoxWork, always_ready, opaque_future};
pub use stage::{Stage, StageFuture};
pub(crate) use states::Offer;
pub use states::{Accepted, Connected, Greeted, Requested, State};
#[cfg(feature = "tls")]
pub(crate) use stream::by_pin;
pub use stream::{BoxStream, ClientStream, Rewind, Stream};
pub(crate) use stream::{Wrap, take_buffered, tcp, tcp_mut, wrap_by};
#[cfg(feature = "http-forward")]
pub(crate) use timeout::TimeoutAt;
pub(crate) use timeout::{Deadline, later, optional_timeout, second_look, timeout, timeout_at};
pub use transfer::{End, Transfer};
pub(crate) use turn::give_way;
pub(crate) use work::{AnyConnector, AnyWork, Run};
pub use work::{Authorizer, Connector, Judge, Judged, Resolver, Work};
