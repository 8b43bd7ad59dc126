use std::{
    any::Any,
    fmt,
    future::{Future, Ready, ready},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use socks_core::DomainName;
use tower_service::Service;

use super::store::{Freshness, Known, Store};
use crate::{
    session::{BoxError, Request, Work, always_ready, timeout},
    works::resolve::{Answer, LookupError, question::Question},
};

/// How long a client waits for a lookup if there is a stale answer (RFC 8767 section 5).
const PATIENCE: Duration = Duration::from_millis(1800);

/// Remembers what `R` answers. See the [module's page](crate::works::resolve::cache).
#[derive(Clone)]
pub struct Cache<R> {
    pub(in crate::works::resolve) store: Arc<Store>,
    pub(in crate::works::resolve) inner: R,
}

impl<R: fmt::Debug> fmt::Debug for Cache<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Its errors are the inner resolver's, as they are; what it remembers of one is a
/// [`LookupError`].
impl<R> Service<Request<DomainName>> for Cache<R>
where
    R: Work<Request<DomainName>, Response: IntoIterator<Item = IpAddr> + 'static>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = CacheFuture;

    always_ready!();

    fn call(&mut self, request: Request<DomainName>) -> CacheFuture {
        let question = Question::from(request.target.clone());
        let stale = match self.store.get(&question) {
            Known::Enough(outcome, freshness) => {
                self.store.count(match freshness {
                    Freshness::Fresh => Asked::Hit,
                    Freshness::Stale => Asked::Stale,
                });
                return CacheFuture::known(outcome);
            }
            Known::Stale(answer) => Some(answer),
            Known::Nothing => None,
        };
        self.store.count(match stale {
            Some(_) => Asked::Stale,
            None => Asked::Miss,
        });
        let store = self.store.clone();
        let asking = ask(store.clone(), question.clone(), self.inner.clone(), request);
        CacheFuture::asking(Box::pin(async move {
            match stale {
                None => asking.await,
                Some(stale) => refresh(&store, &question, stale, asking).await,
            }
        }))
    }
}

/// Asks, and remembers what came of it.
async fn ask<R>(
    store: Arc<Store>,
    question: Question,
    inner: R,
    request: Request<DomainName>,
) -> Result<Answer, BoxError>
where
    R: Work<Request<DomainName>, Response: IntoIterator<Item = IpAddr> + 'static>,
{
    let asked = inner.run(request).await.map(into_answer);
    match &asked {
        Ok(answer) => store.put(&question, Ok(answer)),
        Err(error) => {
            if let Some(error) = error.downcast_ref::<LookupError>() {
                store.put(&question, Err(error));
            }
        }
    }
    asked
}

/// Asks, with an answer for when that does not go well.
async fn refresh(
    store: &Store,
    question: &Question,
    stale: Answer,
    asking: impl Future<Output = Result<Answer, BoxError>> + Send + 'static,
) -> Result<Answer, BoxError> {
    // It goes on when nobody waits for it any more.
    let asking = tokio::spawn(asking);
    match timeout(PATIENCE, asking).await {
        Ok(Ok(Ok(answer))) => return Ok(answer),
        Ok(Ok(Err(error)))
            if matches!(error.downcast_ref(), Some(LookupError::NotFound { .. })) =>
        {
            return Err(error);
        }
        // It failed, is slow, or is no more.
        Ok(_) | Err(_) => {}
    }
    store.put_off(question);
    Ok(stale)
}

/// An [`Answer`] keeps its time; others are lists of addresses.
fn into_answer<A: IntoIterator<Item = IpAddr> + 'static>(answered: A) -> Answer {
    let mut answered = Some(answered);
    let known = (&mut answered as &mut dyn Any).downcast_mut::<Option<Answer>>();
    match known.and_then(Option::take) {
        Some(answer) => answer,
        None => Answer::new(answered.into_iter().flatten(), None),
    }
}

type BoxAsking = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

pin_project! {
    /// The future of [`Cache`].
    #[must_use = "futures do nothing unless polled"]
    pub struct CacheFuture {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State {
        Known { #[pin] known: Ready<Result<Answer, LookupError>> },
        Asking { asking: BoxAsking },
    }
}

impl CacheFuture {
    pub(in crate::works::resolve) fn known(outcome: Result<Answer, LookupError>) -> Self {
        let known = ready(outcome);
        Self {
            state: State::Known { known },
        }
    }

    fn asking(asking: BoxAsking) -> Self {
        Self {
            state: State::Asking { asking },
        }
    }
}

impl Future for CacheFuture {
    type Output = Result<Answer, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Known { known } => {
                Poll::Ready(ready!(known.poll(cx)).map_err(Into::into))
            }
            StateProjection::Asking { asking } => asking.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for CacheFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheFuture(..)")
    }
}

/// What came of a question.
#[derive(Clone, Copy)]
enum Asked {
    Hit,
    Stale,
    Miss,
}

impl Store {
    #[cfg(feature = "metrics")]
    fn count(&self, asked: Asked) {
        let Counts { hit, stale, miss } = &self.counts;
        match asked {
            Asked::Hit => hit,
            Asked::Stale => stale,
            Asked::Miss => miss,
        }
        .increment(1);
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "there is nothing to count by")]
    fn count(&self, _: Asked) {}
}

#[cfg(feature = "metrics")]
pub(super) struct Counts {
    hit: metrics::Counter,
    stale: metrics::Counter,
    miss: metrics::Counter,
}

#[cfg(feature = "metrics")]
impl Counts {
    pub(super) fn new() -> Self {
        const NAME: &str = "socks_resolver_cache_total";
        metrics::describe_counter!(NAME, "Names that a cache was asked for");
        Self {
            hit: metrics::counter!(NAME, "result" => "hit"),
            stale: metrics::counter!(NAME, "result" => "stale"),
            miss: metrics::counter!(NAME, "result" => "miss"),
        }
    }
}

#[cfg(test)]
mod tests;
