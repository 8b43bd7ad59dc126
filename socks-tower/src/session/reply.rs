//! Errors become replies: here, and nowhere else.

use std::{any::Any, error::Error as StdError, fmt, io, sync::Arc};

use socks_core::{
    Target,
    server::{self, Version},
    v5::ReplyCode,
};

use crate::session::{DialError, Error, ErrorKind, Refusal};

impl Error {
    /// What a client that waits for its reply hears of this.
    ///
    /// In this order: the code of a [`Refusal`] among the causes; what failed;
    /// and for a failed dial or lookup its cause, the first time-out or
    /// [`DialError`] within. An error of [`from_box`](Self::from_box), of which nobody
    /// has said what failed, reads as a failed dial; `test_util::replies`, of the
    /// feature `test-util`, takes a work's error as its stage would. The first of our
    /// own errors on the way decides, so that the refused connection of a user
    /// database never reads as a refusing target.
    /// SOCKS4 says 91 whatever the code. A time-out of
    /// [`ConnectLayer::with_timeout`](crate::ConnectLayer::with_timeout) reads as
    /// 06 whatever version of tower you use; another tower's `Timeout` does not.
    ///
    /// | what failed | reply |
    /// |---|---|
    /// | denied by a rule; EACCES, EPERM of the dial | 02 connection not allowed by ruleset |
    /// | dial: ENETUNREACH, ENETDOWN | 03 network unreachable |
    /// | dial: EHOSTUNREACH; the lookup, unless what follows says otherwise | 04 host unreachable |
    /// | dial: ECONNREFUSED | 05 connection refused |
    /// | dial or lookup: ETIMEDOUT, `Elapsed` of tower 0.5 (and of tokio) | 06 TTL expired |
    /// | command not served | 07 command not supported |
    /// | dial: EAFNOSUPPORT, no source address of the target's family | 08 address type not supported |
    /// | an upstream proxy refused the target | its own code, if it is one |
    /// | the lookup: a `DialError`, too many at once; an upstream proxy failed; anything else | 01 general failure |
    #[must_use]
    pub fn reply(&self) -> ReplyCode {
        // Nothing that went wrong on the way to a proxy is about the target.
        if self.kind() == ErrorKind::Upstream {
            return ReplyCode::GENERAL_FAILURE;
        }
        for cause in self.causes() {
            if let Some(refusal) = cause.downcast_ref::<Refusal>() {
                return refusal.code();
            }
            if let Some(error) = cause.downcast_ref::<Self>() {
                return error.reply();
            }
        }
        // Of what nobody has named, the causes still tell.
        match self.named().unwrap_or(ErrorKind::Connect) {
            ErrorKind::Denied => ReplyCode::CONNECTION_NOT_ALLOWED,
            ErrorKind::Resolve => match self.causes().find_map(dial_reply) {
                Some(ReplyCode::TTL_EXPIRED) => ReplyCode::TTL_EXPIRED,
                // What the resolver could not reach says nothing of the host, nor
                // does our own overload.
                Some(_) => ReplyCode::GENERAL_FAILURE,
                None if self.causes().any(is_overload) => ReplyCode::GENERAL_FAILURE,
                None => ReplyCode::HOST_UNREACHABLE,
            },
            ErrorKind::Command => ReplyCode::COMMAND_NOT_SUPPORTED,
            ErrorKind::Connect => self
                .causes()
                .find_map(dial_reply)
                .unwrap_or(ReplyCode::GENERAL_FAILURE),
            ErrorKind::Protocol
            | ErrorKind::Deadline
            | ErrorKind::Authentication
            | ErrorKind::Authorize
            | ErrorKind::Upstream
            | ErrorKind::Limited
            | ErrorKind::Relay
            | ErrorKind::Ended
            | ErrorKind::ClientGone
            | ErrorKind::Other => ReplyCode::GENERAL_FAILURE,
        }
    }
}

/// There is more to look up than we can.
fn is_overload(cause: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{OutOfMemory, ResourceBusy, WouldBlock};
    let error = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    cause.is::<tower::load_shed::error::Overloaded>()
        || matches!(error, Some(WouldBlock | ResourceBusy | OutOfMemory))
}

/// What a cause says of a dial; none if it says nothing.
fn dial_reply(cause: &(dyn StdError + 'static)) -> Option<ReplyCode> {
    if cause.is::<tower::timeout::error::Elapsed>() || cause.is::<tokio::time::error::Elapsed>() {
        return Some(ReplyCode::TTL_EXPIRED);
    }
    let error = cause.downcast_ref::<DialError>()?.get_ref();
    if error.raw_os_error() == Some(EAFNOSUPPORT) {
        return Some(ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED);
    }
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied => ReplyCode::CONNECTION_NOT_ALLOWED,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            ReplyCode::NETWORK_UNREACHABLE
        }
        io::ErrorKind::HostUnreachable => ReplyCode::HOST_UNREACHABLE,
        io::ErrorKind::ConnectionRefused => ReplyCode::CONNECTION_REFUSED,
        io::ErrorKind::TimedOut => ReplyCode::TTL_EXPIRED,
        _ => ReplyCode::GENERAL_FAILURE,
    };
    Some(code)
}

/// std has no `ErrorKind` for it.
pub(crate) const EAFNOSUPPORT: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    97
} else if cfg!(windows) {
    10047
} else {
    47
};

/// How to say yes and no to the client of a session, whatever protocol it
/// speaks. Set by the first stage, which may make one for each client; the
/// later stages know no other words.
///
/// A [`Version`] is the dialect of SOCKS.
pub trait Dialect: Send + Sync + 'static {
    /// Appends `reply`.
    fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>);
}

/// What a client is to hear.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// The request is granted.
    #[non_exhaustive]
    Granted {
        /// BND.ADDR and BND.PORT.
        bound: &'a Target,
    },
    /// The request is refused.
    #[non_exhaustive]
    Refused {
        /// By [`Error::reply`], or the user's last word.
        code: ReplyCode,
        /// Why. It stays with us: only what `code` says is for the client.
        error: &'a Error,
    },
}

/// SOCKS's own words, by version.
impl Dialect for Version {
    fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let outcome = match *reply {
            Reply::Granted { bound } => Ok(bound),
            Reply::Refused { code, .. } => Err(code),
        };
        server::reply(*self, outcome, out);
    }
}

impl<D: Dialect + ?Sized> Dialect for Arc<D> {
    fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        D::encode(self, reply, out);
    }
}

/// A dialect of which SOCKS's allocates nothing.
#[derive(Clone)]
pub(crate) enum Words {
    Socks(Version),
    Other(Arc<dyn Dialect>),
}

impl Words {
    pub(crate) fn new(dialect: impl Dialect) -> Self {
        match (&dialect as &dyn Any).downcast_ref::<Version>() {
            Some(version) => Self::Socks(*version),
            None => Self::Other(Arc::new(dialect)),
        }
    }

    pub(crate) fn encode(&self, reply: &Reply<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        match self {
            Self::Socks(version) => version.encode(reply, &mut out),
            Self::Other(dialect) => dialect.encode(reply, &mut out),
        }
        out
    }
}

/// A user's last word on replies: none leaves it at [`Error::reply`].
#[derive(Clone)]
pub(crate) struct ReplyHook(Arc<dyn Fn(&Error) -> Option<ReplyCode> + Send + Sync>);

impl ReplyHook {
    pub(crate) fn new(hook: impl Fn(&Error) -> Option<ReplyCode> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// The reply to `error`, by the hook if there is one.
    pub(crate) fn reply(hook: Option<&Self>, error: &Error) -> ReplyCode {
        match hook.and_then(|hook| hook.0(error)) {
            Some(ReplyCode::SUCCEEDED) | None => error.reply(),
            Some(code) => code,
        }
    }
}

impl fmt::Debug for ReplyHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyHook(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending, net::IpAddr, time::Duration};

    use socks_core::{DomainName, v5::Command};
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        time::timeout,
    };
    use tower::{ServiceBuilder, service_fn};
    use tower_layer::Layer;
    use tower_service::Service;

    use super::*;
    use crate::{
        session::{BoxError, Connector, Inbound, Pinned, Request, Session, Work},
        stages::connect::ConnectLayer,
        test_support::{Stop, requested},
        works::{
            authorize::AuthorizeLayer,
            resolve::{LookupError, ResolveLayer},
        },
    };

    /// A middleware's error: it keeps its source.
    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] BoxError);

    fn os(number: i32) -> BoxError {
        io::Error::from_raw_os_error(number).into()
    }

    fn dial(number: i32) -> BoxError {
        DialError::from(io::Error::from_raw_os_error(number)).into()
    }

    fn wrapped(error: BoxError) -> BoxError {
        Wrapped(io::Error::other(Wrapped(error)).into()).into()
    }

    /// Errors that any work may fail with.
    fn causes() -> Vec<(&'static str, fn() -> BoxError)> {
        vec![
            ("EACCES", || dial(13)),
            ("EPERM", || dial(1)),
            ("ENETUNREACH", || dial(101)),
            ("ENETDOWN", || dial(100)),
            ("EHOSTUNREACH", || dial(113)),
            ("ECONNREFUSED", || dial(111)),
            ("ETIMEDOUT", || dial(110)),
            ("EAFNOSUPPORT", || dial(97)),
            ("ECONNRESET", || dial(104)),
            ("EMFILE", || dial(24)),
            // A database's, which a layer around the work asked.
            ("io::Error", || os(111)),
            ("tower Elapsed", || {
                tower::timeout::error::Elapsed::new().into()
            }),
            ("Overloaded", || {
                tower::load_shed::error::Overloaded::new().into()
            }),
            ("a word", || "no".into()),
            ("Refusal", || {
                Refusal::with(ReplyCode::ONION_AUTH_WRONG, os(111)).into()
            }),
        ]
    }

    /// What the client hears, by the work that failed: resolver, authorizer,
    /// connector.
    fn expected(cause: &str) -> [u8; 3] {
        match cause {
            "EACCES" | "EPERM" => [1, 1, 2],
            "ENETUNREACH" | "ENETDOWN" => [1, 1, 3],
            "EHOSTUNREACH" => [1, 1, 4],
            "ECONNREFUSED" => [1, 1, 5],
            "ETIMEDOUT" | "tower Elapsed" => [6, 1, 6],
            "EAFNOSUPPORT" => [1, 1, 8],
            "a word" | "io::Error" => [4, 1, 1],
            "Overloaded" | "ECONNRESET" | "EMFILE" => [1, 1, 1],
            "Refusal" => [0xf5; 3],
            other => panic!("{other}"),
        }
    }

    fn failing<R, T>(
        fail: impl Fn() -> BoxError + Clone + Send + 'static,
    ) -> impl Work<R, Response = T>
    where
        R: Send + 'static,
        T: Send + 'static,
    {
        service_fn(move |_: R| {
            let error = fail();
            async move { Err::<T, _>(error) }
        })
    }

    async fn resolved(_: Request<DomainName>) -> Result<[IpAddr; 1], Infallible> {
        Ok([[192, 0, 2, 1].into()])
    }

    async fn allowed(request: Request<Pinned>) -> Result<Request<Pinned>, Infallible> {
        Ok(request)
    }

    async fn reply_of(connector: impl Connector<Request>, version: Version) -> Vec<u8> {
        let (mut client, io) = duplex(64);
        let target = "example.com:80".parse().unwrap();
        let mut requested = requested(
            io,
            b"",
            Request::new(Session::new(), Command::CONNECT, target),
        );
        requested.client = Inbound::new(requested.client.io, Vec::new(), version);
        let mut stage = ConnectLayer::new(connector).layer(Stop);
        let hearing = async {
            let mut reply = vec![0; 2];
            client.read_exact(&mut reply).await.unwrap();
            drop(client);
            reply
        };
        let (result, reply) = tokio::join!(stage.call(requested), hearing);
        assert!(result.is_err());
        reply
    }

    #[tokio::test]
    async fn every_error_of_every_work_has_its_reply_in_every_version() {
        for (name, cause) in causes() {
            for nested in [false, true] {
                let fail = move || if nested { wrapped(cause()) } else { cause() };
                let [by_resolver, by_authorizer, by_connector] = expected(name);
                for version in [Version::Socks5, Version::Socks4, Version::Socks4a] {
                    let hears = |code: u8| match version {
                        Version::Socks5 => [5, code],
                        _ => [0, 91],
                    };
                    let inner = AuthorizeLayer::new(service_fn(allowed)).layer(failing::<
                        Request<Pinned>,
                        DuplexStream,
                    >(
                        fail
                    ));

                    let stack =
                        ResolveLayer::new(failing::<_, Vec<IpAddr>>(fail)).layer(inner.clone());
                    assert_eq!(
                        reply_of(stack, version).await,
                        hears(by_resolver),
                        "resolver, {name}"
                    );

                    let stack = ResolveLayer::new(service_fn(resolved)).layer(
                        AuthorizeLayer::new(failing(fail)).layer(failing::<_, DuplexStream>(fail)),
                    );
                    assert_eq!(
                        reply_of(stack, version).await,
                        hears(by_authorizer),
                        "authorizer, {name}"
                    );

                    let stack = ResolveLayer::new(service_fn(resolved)).layer(inner);
                    assert_eq!(
                        reply_of(stack, version).await,
                        hears(by_connector),
                        "connector, {name}"
                    );
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_out_is_06_whether_it_is_around_all_or_the_resolver_s_own() {
        let stuck =
            || service_fn(|_: Request<DomainName>| pending::<Result<Vec<IpAddr>, Infallible>>());
        let dial = || service_fn(|_: Request<Pinned>| async { Ok::<_, Infallible>(duplex(1).0) });
        let second = Duration::from_secs(1);

        let outer = ServiceBuilder::new()
            .timeout(second)
            .layer(ResolveLayer::new(stuck()))
            .service(dial());
        assert_eq!(reply_of(outer, Version::Socks5).await, [5, 6]);

        let own = ResolveLayer::new(ServiceBuilder::new().timeout(second).service(stuck()));
        assert_eq!(reply_of(own.layer(dial()), Version::Socks5).await, [5, 6]);

        let tokio_s = service_fn(move |_: Request| async move {
            timeout(second, pending::<DuplexStream>()).await
        });
        assert_eq!(reply_of(tokio_s, Version::Socks5).await, [5, 6]);
    }

    #[test]
    fn a_refusal_was_meant_and_is_no_breakage() {
        let refusal = || Wrapped(Refusal::not_allowed("no").into()).into();
        for kind in [ErrorKind::Authorize, ErrorKind::Connect, ErrorKind::Other] {
            assert_eq!(Error::of_work(kind, refusal()).kind(), ErrorKind::Denied);
        }
        // But what another of our errors says of its own causes stands.
        let broken = Error::new(ErrorKind::Authorize, Wrapped(refusal()));
        assert_eq!(
            Error::of_work(ErrorKind::Connect, broken.into()).kind(),
            ErrorKind::Authorize
        );
    }

    #[test]
    fn an_error_that_nobody_named_reads_as_a_failed_dial() {
        for (name, cause) in causes() {
            let [_, _, by_connector] = expected(name);
            assert_eq!(Error::from_box(cause()).reply().0, by_connector, "{name}");
        }
    }

    #[cfg(feature = "test-util")]
    #[test]
    fn what_a_test_is_told_of_an_error_is_what_clients_hear() {
        use crate::test_util::replies;

        let works = [ErrorKind::Resolve, ErrorKind::Authorize, ErrorKind::Connect];
        for (name, cause) in causes() {
            for (work, code) in works.into_iter().zip(expected(name)) {
                let [socks5, socks4, http] = replies(work, cause());
                assert_eq!((socks5, socks4), (code.into(), 91), "{work}, {name}");
                assert!((403..=504).contains(&http), "{work}, {name}: {http}");
            }
        }
    }

    #[test]
    fn every_kind_has_a_reply_of_its_own() {
        for (kind, code) in [
            (ErrorKind::Protocol, 1),
            (ErrorKind::Deadline, 1),
            (ErrorKind::Authentication, 1),
            (ErrorKind::Resolve, 4),
            (ErrorKind::Denied, 2),
            (ErrorKind::Authorize, 1),
            (ErrorKind::Connect, 1),
            (ErrorKind::Upstream, 1),
            (ErrorKind::Command, 7),
            (ErrorKind::Limited, 1),
            (ErrorKind::Relay, 1),
            (ErrorKind::Ended, 1),
            (ErrorKind::ClientGone, 1),
            (ErrorKind::Other, 1),
        ] {
            assert_eq!(Error::bare(kind).reply(), ReplyCode(code), "{kind:?}");
        }
    }

    #[test]
    fn the_first_of_our_own_errors_decides() {
        let inner = Error::new(ErrorKind::Authorize, os(111));
        let outer = Error::new(ErrorKind::Connect, Wrapped(inner.into()));
        assert_eq!(outer.reply(), ReplyCode::GENERAL_FAILURE);
    }

    #[test]
    fn our_own_overload_says_nothing_of_the_host() {
        let host = DomainName::new("example.com").unwrap().into();
        let overloaded = LookupError::Overloaded {
            host,
            limit: 1,
            source: io::ErrorKind::ResourceBusy.into(),
        };
        assert_eq!(
            Error::new(ErrorKind::Resolve, overloaded).reply(),
            ReplyCode::GENERAL_FAILURE
        );
    }

    #[test]
    fn the_hook_has_the_last_word_but_cannot_grant() {
        let error = Error::bare(ErrorKind::Denied);
        let hide = ReplyHook::new(|_| Some(ReplyCode::HOST_UNREACHABLE));
        let leave = ReplyHook::new(|_| None);
        let grant = ReplyHook::new(|_| Some(ReplyCode::SUCCEEDED));
        assert_eq!(
            ReplyHook::reply(Some(&hide), &error),
            ReplyCode::HOST_UNREACHABLE
        );
        for hook in [Some(&leave), Some(&grant), None] {
            assert_eq!(
                ReplyHook::reply(hook, &error),
                ReplyCode::CONNECTION_NOT_ALLOWED
            );
        }
    }
}
