//! The life of an association, from the request to the end of its connection.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socks_core::Target;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    association::{Association, Carried},
    flows::Flows,
    lookups::Lookups,
    reassembly::Reassembly,
    socket::{self, Outward},
    source::Source,
    upstream::{Upstream, is_served},
};
use crate::{
    session::{
        AnyConnector, End, Error, ErrorKind, Judge, Request, Requested, Stream, Transfer,
        second_look,
    },
    stages::listen_addrs::ListenAddrs,
    works::egress::Egress,
};

/// What can be set.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_flows: usize,
    pub(super) receive_buffer: usize,
    pub(super) full_cone: bool,
    pub(super) reassembly: Option<Duration>,
    pub(super) listen: ListenAddrs,
    pub(super) egress: Egress,
    pub(super) upstream: Option<AnyConnector>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // RFC 4787, REQ-5, recommends as much for a NAT.
            idle_timeout: Some(Duration::from_secs(5 * 60)),
            max_flows: 1024,
            receive_buffer: 1024 * 1024,
            full_cone: false,
            reassembly: None,
            listen: ListenAddrs::new(),
            egress: Egress::new(),
            upstream: None,
        }
    }
}

/// Why there is no association.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssociateError {
    /// The client has no IP address (it came by a Unix socket), so that nobody
    /// could tell its datagrams from others'.
    #[error("the client has no address that its datagrams could come from")]
    NoClientAddress,
    /// The socket for the client's datagrams could not be opened.
    #[error("no socket for the client's datagrams")]
    Socket(#[source] io::Error),
    /// The upstream does not say where it takes datagrams, or there is no socket towards
    /// it.
    #[error("the upstream cannot be sent datagrams")]
    Upstream(#[source] io::Error),
}

impl From<AssociateError> for Error {
    fn from(error: AssociateError) -> Self {
        let kind = match error {
            AssociateError::NoClientAddress => ErrorKind::Denied,
            AssociateError::Socket(_) => ErrorKind::Relay,
            AssociateError::Upstream(_) => ErrorKind::Upstream,
        };
        Self::new(kind, error)
    }
}

pub(super) async fn associate<Io, J>(
    judge: J,
    config: Arc<Config>,
    requested: Requested<Io>,
) -> Result<Transfer, Error>
where
    Io: Stream,
    J: Judge,
{
    let Requested {
        mut client,
        request,
    } = requested;
    request.session.watch.requested(&request);
    let upstream = match &config.upstream {
        Some(connector) if is_served(&request) => {
            // Boxed, for it is gone once the association stands.
            let opened = Box::pin(Upstream::open(connector, &mut client, &request)).await;
            opened.map(Some)
        }
        _ => Ok(None),
    };
    let opened = upstream.and_then(|upstream| open(judge, &config, request, upstream));
    let (mut association, told) = match opened {
        Ok(opened) => opened,
        // Boxed, for it has a buffer that would stay in this future.
        Err(error) => return Err(Box::pin(client.refuse(error)).await),
    };
    client.grant(&told).await?;
    association.carried.established();
    let started = Instant::now();
    association.carried.active = started;

    let mut sleep = pin!(None);
    let mut doubted = false;
    let end = poll_fn(|cx| {
        if let Poll::Ready(gone) = client.poll_gone(cx) {
            return Poll::Ready(gone.map_or(End::ClientReset, |()| End::Closed));
        }
        if association.poll_ended(cx).is_ready() {
            return Poll::Ready(End::UpstreamReset);
        }
        association.poll(cx);
        if association.carried.is_exhausted {
            return Poll::Ready(End::QuotaExceeded);
        }
        let idle_since = || association.carried.active;
        ready!(poll_idle(
            sleep.as_mut(),
            &mut doubted,
            config.idle_timeout,
            idle_since,
            cx
        ));
        Poll::Ready(End::IdleTimeout)
    })
    .await;

    let Carried {
        up,
        down,
        datagrams,
        ..
    } = association.carried;
    Ok(Transfer {
        up,
        down,
        duration: started.elapsed(),
        end,
        datagrams: Some(datagrams),
    })
}

/// Opens the association that `request` asks for; says what the client is told.
///
/// Boxed, for the future that it goes through would have room for it twice.
fn open<J>(
    judge: J,
    config: &Config,
    request: Request,
    upstream: Option<Box<Upstream>>,
) -> Result<(Box<Association<J>>, Target), Error>
where
    J: Judge,
{
    if !is_served(&request) {
        return Err(Error::bare(ErrorKind::Command));
    }
    let session = &request.session;
    let client_addr = session.client_addr.ok_or(AssociateError::NoClientAddress)?;
    let ip = client_addr.ip().to_canonical();
    let (client, told) = socket::for_client(&config.listen, session, ip, config.receive_buffer)
        .map_err(AssociateError::Socket)?;
    let mut outward = Outward::new(config.egress.way(session), config.receive_buffer);
    if let Some(upstream) = &upstream {
        let connected = outward.connect(upstream.relay.addr);
        connected.map_err(AssociateError::Upstream)?;
    }
    let carried = Carried::new(session, Instant::now());
    let wrapper = session.extensions.get().cloned();
    let association = Association {
        client,
        outward,
        upstream,
        source: Source::new(ip, &request.target),
        flows: Flows::new(config.max_flows),
        reassembly: config.reassembly.map(Reassembly::new),
        full_cone: config.full_cone,
        wrapper,
        lookups: Lookups::new(judge, request),
        carried,
    };
    Ok((Box::new(association), told.into()))
}

/// Ready once nothing has gone through for `timeout`.
///
/// The timer is not set anew for every datagram: when it fires, it is seen how
/// much time has been gained since. One that fires late is `doubted` once.
fn poll_idle(
    mut sleep: Pin<&mut Option<Sleep>>,
    doubted: &mut bool,
    timeout: Option<Duration>,
    idle_since: impl Fn() -> Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        // What lies past the end of time never comes.
        let Some(end) = timeout.and_then(|timeout| idle_since().checked_add(timeout)) else {
            return Poll::Pending;
        };
        if sleep.is_none() {
            sleep.set(Some(sleep_until(end)));
        }
        let Some(mut timer) = sleep.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(cx));
        let now = Instant::now();
        if end > now {
            *doubted = false;
            timer.reset(end);
            continue;
        }
        match second_look(end, now).filter(|_| !*doubted) {
            None => return Poll::Ready(()),
            Some(at) => timer.reset(at),
        }
        *doubted = true;
    }
}

#[cfg(test)]
mod tests {
    use socks_core::v5::Command;
    use tokio::io::duplex;
    use tower::ServiceBuilder;

    use super::*;
    use crate::{
        session::{ClientStream, Session},
        test_support::requested,
        works::{
            authorize::{AuthorizeLayer, Permit, Rules},
            resolve::{ResolveLayer, SystemResolver},
        },
    };

    fn size_of_association<J>(_: &J) -> usize {
        size_of::<Association<J>>()
    }

    #[test]
    fn an_association_that_does_nothing_is_small() {
        let judge = ServiceBuilder::new()
            .timeout(Duration::from_secs(10))
            .layer(ResolveLayer::new(SystemResolver::new()))
            .layer(AuthorizeLayer::new(Rules::new()))
            .service(Permit::new());
        let association = size_of_association(&judge);
        let request = Request::new(Session::new(), Command::UDP_ASSOCIATE, Target::UNSPECIFIED);
        let requested = requested(ClientStream::plain(duplex(1).0), b"", request);
        let future = associate(judge, Arc::default(), requested);
        let size = size_of_val(&future) + association;
        assert!(size <= 2048, "{size}");
    }
}
