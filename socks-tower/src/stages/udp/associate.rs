//! The life of an association, from the request to the end of its connection.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socks_core::{Target, v5::Command};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    association::{Association, Carried},
    flows::Flows,
    lookups::Lookups,
    reassembly::Reassembly,
    socket::{self, Outward},
    source::Source,
};
use crate::{
    session::{End, Error, ErrorKind, Judge, Request, Requested, Stream, Transfer, second_look},
    stages::listen_addrs::ListenAddrs,
    works::egress::Egress,
};

/// What can be set.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_flows: usize,
    pub(super) full_cone: bool,
    pub(super) reassembly: Option<Duration>,
    pub(super) listen: ListenAddrs,
    pub(super) egress: Egress,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // RFC 4787, REQ-5, recommends as much for a NAT.
            idle_timeout: Some(Duration::from_secs(5 * 60)),
            max_flows: 1024,
            full_cone: false,
            reassembly: None,
            listen: ListenAddrs::new(),
            egress: Egress::new(),
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
}

impl From<AssociateError> for Error {
    fn from(error: AssociateError) -> Self {
        let kind = match error {
            AssociateError::NoClientAddress => ErrorKind::Denied,
            AssociateError::Socket(_) => ErrorKind::Relay,
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
    let (mut association, told) = match open(judge, &config, request) {
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
) -> Result<(Box<Association<J>>, Target), Error>
where
    J: Judge,
{
    // SOCKS4 has no command 3.
    if request.command != Command::UDP_ASSOCIATE || request.session.is_socks4() {
        return Err(Error::bare(ErrorKind::Command));
    }
    let session = &request.session;
    let client_addr = session.client_addr.ok_or(AssociateError::NoClientAddress)?;
    let ip = client_addr.ip().to_canonical();
    let (client, told) =
        socket::for_client(&config.listen, session, ip).map_err(AssociateError::Socket)?;
    let carried = Carried::new(session, Instant::now());
    let wrapper = session.extensions.get().cloned();
    let association = Association {
        client,
        outward: Outward::new(config.egress.way(session)),
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
