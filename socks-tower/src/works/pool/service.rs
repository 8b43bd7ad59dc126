use tokio::time::Instant;
use tower_service::Service;

use super::{
    PoolError, UpstreamPool,
    blame::Blame,
    breaker::{Breaker, Try},
};
use crate::session::{
    BoxError, BoxWork, Chain, Connector, IntoOutbound, Outbound, Request, always_ready,
    opaque_future, timeout,
};

opaque_future! {
    /// The future of [`UpstreamPool`].
    UpstreamPoolFuture<Io> -> Result<Outbound<Io>, BoxError> = BoxWork<Outbound<Io>>
}

/// # Errors
///
/// Of all errors of the upstreams that were tried, the one that says most of the
/// target, as it was; [`PoolError`] where none said anything.
impl<T, C> Service<Request<T>> for UpstreamPool<C>
where
    T: Clone + Send + 'static,
    C: Connector<Request<T>>,
{
    type Response = Outbound<C::Io>;
    type Error = BoxError;
    type Future = UpstreamPoolFuture<C::Io>;

    always_ready!();

    fn call(&mut self, request: Request<T>) -> Self::Future {
        UpstreamPoolFuture::new(Box::pin(connect(self.clone(), request)))
    }
}

async fn connect<T, C>(
    pool: UpstreamPool<C>,
    request: Request<T>,
) -> Result<Outbound<C::Io>, BoxError>
where
    T: Clone + Send + 'static,
    C: Connector<Request<T>>,
{
    let list = pool.members.snapshot();
    let key = pool.sticky.as_ref();
    let key = key.and_then(|sticky| sticky.key(&request.session));
    let mut tries = Tries::new(pool.breaker);
    let began = Instant::now();
    let of_a_try = match list.len() {
        0 | 1 => pool.timeout,
        _ => pool.timeout / 2,
    };
    loop {
        let now = Instant::now();
        let left = pool.timeout.saturating_sub(now - began);
        let next = || pool.members.next(&list, &tries.tried, key, now);
        let Some((number, member, begun)) = (!left.is_zero()).then(next).flatten() else {
            return Err(tries.told());
        };
        let upstream = begun.name().clone();
        tracing::trace!(session = %request.session.id(), %upstream, "trying an upstream");
        let connecting = member.connector().run(request.clone());
        let answer = match timeout(left.min(of_a_try), connecting).await {
            Ok(answer) => answer,
            Err(source) => Err(PoolError::TimedOut { upstream, source }.into()),
        };
        match answer {
            Ok(response) => {
                tries.another_connected();
                return Ok(response.into_outbound().with_guard(begun.succeed()));
            }
            Err(error) => tries.failed(number, begun, error)?,
        }
    }
}

/// What became of the tries so far.
struct Tries {
    breaker: Breaker,
    tried: Vec<usize>,
    /// How many of them said nothing that another might not better.
    unclear: u32,
    /// One that is to blame if another connects.
    suspect: Option<Try>,
    /// The error that says most of the target.
    told: Option<(Blame, BoxError)>,
}

impl Tries {
    fn new(breaker: Breaker) -> Self {
        Self {
            breaker,
            tried: Vec::new(),
            unclear: 0,
            suspect: None,
            told: None,
        }
    }

    /// Whether there is to be another try; else what the client is to hear of.
    fn failed(&mut self, number: usize, begun: Try, error: BoxError) -> Result<(), BoxError> {
        let blame = Blame::of(&error);
        tracing::debug!(upstream = %begun.name(), error = %Chain(&*error), ?blame, "a try failed");
        self.tried.push(number);
        match blame {
            Blame::Ours => return Err(error),
            Blame::Target => {
                begun.succeed();
                return Err(error);
            }
            Blame::Perhaps => drop(begun.succeed()),
            Blame::Suspect => self.suspect = Some(begun),
            Blame::Upstream => begun.fail(&self.breaker, &error),
            Blame::Unable | Blame::Dial => drop(begun),
        }
        // Of two alike, the later one.
        let says_more = |told: &(Blame, _)| told.0 <= blame;
        if self.told.as_ref().is_none_or(says_more) {
            self.told = Some((blame, error));
        }
        if matches!(blame, Blame::Suspect | Blame::Dial | Blame::Perhaps) {
            self.unclear += 1;
        }
        match self.told.take_if(|_| self.unclear == 2) {
            // That two do not reach it says enough of a target.
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// What the client is to hear of, as there is no other try.
    fn told(self) -> BoxError {
        let told = self.told.map(|(_, error)| error);
        told.unwrap_or_else(|| PoolError::NoneLeft.into())
    }

    /// The target can be reached: the suspect is to blame, if it is silent to all.
    fn another_connected(mut self) {
        if let Some(suspect) = self.suspect.take().filter(|it| !it.is_answering()) {
            let breaker = self.breaker;
            suspect.fail(&breaker, &self.told());
        }
    }
}
