use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tower::timeout::error::Elapsed;

use crate::session::{BoxError, Error, ErrorKind, Refusal};

/// Why no peer came, or none that was let in.
///
/// It is the source of an [`Error`] of kind [`ErrorKind::Connect`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// This machine has no address by which the peer could reach it, or none
    /// that the client's protocol can say.
    #[error("no address that the peer can be told")]
    NoAddress,
    /// The address cannot be listened on, or no port of the range is free.
    #[error("listen on {ip}")]
    #[non_exhaustive]
    Listen {
        /// The address.
        ip: IpAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No peer can be accepted any more.
    #[error("accept the peer")]
    Accept(#[source] io::Error),
    /// Nobody came in time.
    #[error("no peer came within {timeout:?}")]
    #[non_exhaustive]
    TimedOut {
        /// How long it was waited for.
        timeout: Duration,
        /// What said so.
        source: Elapsed,
    },
    /// Somebody else came, which ends a BIND of SOCKS4, and one through another proxy.
    #[error("{0} came, which is not the peer expected")]
    WrongPeer(SocketAddr),
    /// Who came to a BIND for anybody is not permitted, which ends it in
    /// SOCKS4, and through another proxy.
    #[error("{peer} is not let in")]
    #[non_exhaustive]
    NotPermitted {
        /// Who it was.
        peer: SocketAddr,
        /// What the judge says.
        source: BoxError,
    },
}

impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        match error {
            BindError::NoAddress => {
                let refusal = Refusal::address_type_not_supported(error);
                Self::new(ErrorKind::Connect, refusal)
            }
            error => Self::new(ErrorKind::Connect, error),
        }
    }
}
