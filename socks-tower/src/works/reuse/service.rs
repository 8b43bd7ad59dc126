use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Lease,
    lease::{Idle, Leased},
};
use crate::session::{
    BoxStream, Connector, IntoOutbound, Outbound, Pinned, Request, Stream, canonical, watch::Watch,
};

/// Answers with the connection that a client's last request left, or with `C`'s. See
/// the [module's page](crate::works::reuse).
#[derive(Clone, Copy, Debug)]
pub struct Reuse<C> {
    pub(super) inner: C,
}

impl<C: Connector<Request<Pinned>>> Service<Request<Pinned>> for Reuse<C> {
    type Response = Outbound<BoxStream>;
    type Error = C::Error;
    type Future = ReuseFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Pinned>) -> Self::Future {
        let session = &request.session;
        let leasing = session.extensions.get::<Lease>().map(|lease| Leasing {
            lease: lease.clone(),
            permitted: request.target.clone(),
            watch: session.watch.clone(),
        });
        let how = match leasing.as_ref().and_then(Leasing::again) {
            Some(outbound) => How::Again {
                outbound: Some(outbound),
            },
            None => How::Anew {
                connecting: self.inner.call(request),
                leasing,
            },
        };
        ReuseFuture { how }
    }
}

/// A request whose connection may be used again.
struct Leasing {
    lease: Lease,
    permitted: Pinned,
    watch: Watch,
}

impl Leasing {
    fn again(&self) -> Option<Outbound<BoxStream>> {
        let idle = self.lease.take_for(self.permitted.addrs())?;
        Some(self.lease(idle))
    }

    fn lease(&self, idle: Idle) -> Outbound<BoxStream> {
        // Nobody sees it through what it is in.
        self.watch.leads_to(idle.peer);
        let local_addr = idle.local_addr;
        let mut outbound = Outbound::new(BoxStream::new(Leased::new(idle, &self.lease)));
        outbound.local_addr = local_addr;
        outbound
    }

    fn anew(&self, outbound: Outbound<BoxStream>) -> Outbound<BoxStream> {
        let peer = outbound.tcp().and_then(|tcp| tcp.peer_addr().ok());
        let local_addr = outbound.local_addr();
        match peer.map(canonical) {
            Some(peer)
                if self.permitted.addrs().contains(&peer)
                    // One to itself is told from others by whoever sees the socket.
                    && local_addr.map(canonical) != Some(peer) =>
            {
                self.lease(Idle {
                    io: outbound.io,
                    guard: outbound.guard,
                    local_addr,
                    peer,
                })
            }
            _ => outbound,
        }
    }
}

pin_project! {
    /// The future of [`Reuse`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ReuseFuture<F> {
        #[pin]
        how: How<F>,
    }
}

pin_project! {
    #[project = HowProjection]
    enum How<F> {
        Again { outbound: Option<Outbound<BoxStream>> },
        Anew { #[pin] connecting: F, leasing: Option<Leasing> },
    }
}

impl<F, R, E> Future for ReuseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoOutbound<Io: Stream>,
{
    type Output = Result<Outbound<BoxStream>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().how.project() {
            HowProjection::Again { outbound } => match outbound.take() {
                Some(outbound) => Poll::Ready(Ok(outbound)),
                None => Poll::Pending,
            },
            HowProjection::Anew {
                connecting,
                leasing,
            } => {
                let outbound = ready!(connecting.poll(cx))?.into_outbound().boxed();
                Poll::Ready(Ok(match mem::take(leasing) {
                    Some(leasing) => leasing.anew(outbound),
                    None => outbound,
                }))
            }
        }
    }
}

impl<F> fmt::Debug for ReuseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuseFuture(..)")
    }
}
