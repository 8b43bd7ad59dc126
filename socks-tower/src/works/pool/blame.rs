//! Who is to blame for a request that came to nothing.

use std::error::Error as StdError;

use socks_core::v5::ReplyCode;

use crate::{
    session::{BoxError, DialError, Error, ErrorKind, Refusal, cause_of},
    works::upstream::{UpstreamError, UpstreamFailure},
};

/// What an error of an upstream's says of it. The later ones say more of the target,
/// and so more to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blame {
    /// The upstream cannot do this, or not now: another may.
    Unable,
    /// The upstream's fault.
    Upstream,
    /// The upstream's fault, if another reaches the target: it gave no answer.
    Suspect,
    /// Nobody's: the upstream dials the target itself. Perhaps another reaches it.
    Dial,
    /// The upstream says that it does not reach the target. Perhaps another does.
    Perhaps,
    /// The upstream has answered, and another would answer no better.
    Target,
    /// A layer of ours before the upstream has said no: that was not even asked.
    Ours,
}

impl Blame {
    pub(super) fn of(error: &BoxError) -> Self {
        let error: &(dyn StdError + 'static) = &**error;
        std::iter::successors(Some(error), |error| cause_of(*error))
            .find_map(Self::of_cause)
            .unwrap_or(Self::Upstream)
    }

    fn of_cause(cause: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return Self::of_kind(error.kind());
        }
        if let Some(error) = cause.downcast_ref::<UpstreamError>() {
            return Self::of_failure(error);
        }
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(Self::of_code(refusal.code()));
        }
        if cause.is::<DialError>() {
            return Some(Self::Dial);
        }
        if cause.is::<tower::load_shed::error::Overloaded>() {
            return Some(Self::Unable);
        }
        let is_elapsed = cause.is::<tower::timeout::error::Elapsed>()
            || cause.is::<tokio::time::error::Elapsed>();
        is_elapsed.then_some(Self::Suspect)
    }

    /// What the layers of an upstream's own stack say.
    fn of_kind(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::Connect | ErrorKind::Upstream | ErrorKind::Other => None,
            // It has enough to do, or serves this not at all.
            ErrorKind::Limited | ErrorKind::Command => Some(Self::Unable),
            _ => Some(Self::Ours),
        }
    }

    fn of_failure(error: &UpstreamError) -> Option<Self> {
        match error.failure() {
            UpstreamFailure::Unreachable | UpstreamFailure::RefusedUs => Some(Self::Upstream),
            // Some hang up instead of saying that they do not reach the target.
            UpstreamFailure::NoAnswer | UpstreamFailure::Protocol => Some(Self::Suspect),
            UpstreamFailure::RefusedTarget | UpstreamFailure::Unsupported => {
                error.code().map(Self::of_code)
            }
        }
    }

    fn of_code(code: ReplyCode) -> Self {
        match code {
            ReplyCode::COMMAND_NOT_SUPPORTED | ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED => {
                Self::Unable
            }
            ReplyCode::GENERAL_FAILURE
            | ReplyCode::NETWORK_UNREACHABLE
            | ReplyCode::HOST_UNREACHABLE
            | ReplyCode::TTL_EXPIRED => Self::Perhaps,
            _ => Self::Target,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use socks_core::{Target, v5::Command};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::sleep,
    };
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::{
        session::{Request, Session},
        works::upstream::Socks5Connector,
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// What is said of a SOCKS5 proxy that answers so, takes that long, and hangs up.
    async fn of(answer: &'static [u8], takes: Duration) -> Blame {
        let dial = service_fn(move |_: Request| async move {
            let (near, mut far) = duplex(64);
            tokio::spawn(async move {
                far.write_all(answer).await.unwrap();
                sleep(takes).await;
                let _ = far.shutdown().await;
                let _ = far.read_to_end(&mut Vec::new()).await;
            });
            Ok::<_, io::Error>(near)
        });
        through(dial).await
    }

    async fn through(dial: impl crate::session::Connector<Request, Io = DuplexStream>) -> Blame {
        let target: Target = "example.com:80".parse().unwrap();
        let request = Request::new(Session::new(), Command::CONNECT, target);
        let connector = Socks5Connector::new("192.0.2.1:1080".parse().unwrap(), dial);
        let answer = connector.with_timeout(SECOND).oneshot(request).await;
        Blame::of(&answer.unwrap_err().into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_is_to_blame_for_itself_and_not_for_the_target() {
        for (answer, expected) in [
            (&b"\x05\xff"[..], Blame::Upstream),
            (b"\x05\x00\x05\x01\x00\x01\0\0\0\0\0\0", Blame::Perhaps),
            (b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0", Blame::Target),
            (b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0", Blame::Perhaps),
            (b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0", Blame::Target),
            (b"\x05\x00\x05\x07\x00\x01\0\0\0\0\0\0", Blame::Unable),
            (b"\x05\x00\x05\xf0\x00\x01\0\0\0\0\0\0", Blame::Target),
            (b"HTTP/1.1 400 Bad Request\r\n", Blame::Suspect),
        ] {
            assert_eq!(of(answer, Duration::ZERO).await, expected, "{answer:?}");
        }
        // It did not let us ask; it did not answer; it hung up instead.
        assert_eq!(of(b"", 2 * SECOND).await, Blame::Upstream);
        assert_eq!(of(b"\x05\x00", 2 * SECOND).await, Blame::Suspect);
        assert_eq!(of(b"\x05\x00", Duration::ZERO).await, Blame::Suspect);
        let refused = service_fn(|_: Request| async {
            Err::<DuplexStream, _>(DialError::from(io::ErrorKind::ConnectionRefused))
        });
        assert_eq!(through(refused).await, Blame::Upstream);
    }

    #[test]
    fn one_that_has_enough_to_do_or_does_not_serve_this_is_not_to_blame() {
        let overloaded = tower::load_shed::error::Overloaded::new();
        let limited = Error::bare(ErrorKind::Limited);
        let command = Error::bare(ErrorKind::Command);
        for error in [BoxError::from(overloaded), limited.into(), command.into()] {
            assert_eq!(Blame::of(&error), Blame::Unable);
        }
    }
}
