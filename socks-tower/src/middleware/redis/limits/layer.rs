use std::{any::Any, fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    By, RedisLimits,
    question::{Answer, Asked, Question, Taken},
    tally::Tally,
};
use crate::{
    middleware::{
        admission::Admission,
        limit::{Buckets, Limited, MAX_KEYS, Rate},
        redis::link::{Outage, Redis},
    },
    session::{Error, Session},
};

/// Held for as long as a connection is live; none if no live limit counts it.
pub(super) type Permit = Option<Box<dyn Any + Send>>;

/// Limits that all nodes on one Redis count together. See the
/// [module's page](crate::middleware::redis#limits).
///
/// Its clones, and all that it is wrapped around, count together at this node.
#[derive(Clone)]
pub struct RedisLimitsLayer {
    redis: Redis,
    limits: Arc<Vec<Limit>>,
    lease: Duration,
    max_keys: usize,
}

#[derive(Clone)]
struct Limit {
    /// What its keys begin with.
    prefix: String,
    by: By,
    of: Of,
}

#[derive(Clone)]
enum Of {
    Live(Arc<Tally>),
    Rate(Rate, Option<Arc<Buckets<Arc<str>>>>),
}

impl RedisLimitsLayer {
    /// Without any limit yet.
    #[must_use]
    pub fn new(redis: &Redis) -> Self {
        Self {
            redis: redis.clone(),
            limits: Arc::default(),
            lease: Duration::from_secs(15),
            max_keys: MAX_KEYS,
        }
    }

    /// Lets `max` be live, of each that `by` tells apart. Nodes count together what has
    /// the same `name`.
    #[must_use]
    pub fn with_live(mut self, name: &str, max: usize, by: By) -> Self {
        let tally = Tally::new(&self.redis, max, self.max_keys, self.lease);
        self.add("live", name, by, Of::Live(tally));
        self
    }

    /// Lets new connections in at `rate`, of each that `by` tells apart. Nodes count
    /// together what has the same `name`.
    #[must_use]
    pub fn with_rate(mut self, name: &str, rate: Rate, by: By) -> Self {
        let quota = rate.quota();
        let buckets = quota.map(|quota| Arc::new(Buckets::new(quota, self.max_keys)));
        self.add("rate", name, by, Of::Rate(rate, buckets));
        self
    }

    /// When the connections of a node that is not heard of any more are forgotten: 15 s
    /// unless set, for the live limits that are added after this. They are renewed at a
    /// third of it.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(30));
        self
    }

    /// Keeps count of at most `max_keys` keys at a time, 65,536 unless set, in each limit
    /// that is added after this.
    #[must_use]
    pub fn with_max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }

    fn add(&mut self, kind: &str, name: &str, by: By, of: Of) {
        let prefix = self.redis.key(&[kind, name, ""]);
        Arc::make_mut(&mut self.limits).push(Limit { prefix, by, of });
    }

    /// This node first: what it refuses itself is not asked.
    pub(super) fn admit(&self, session: &Session) -> Admission<Permit> {
        match self.take(session) {
            Err(error) => Admission::Refused(error),
            Ok(question) if question.limits.is_empty() => Admission::Admitted(None),
            Ok(question) => {
                let asking = Self::ask(self.clone(), question);
                Admission::Waiting(Box::pin(asking))
            }
        }
    }

    /// Takes what this node has to give, by all limits.
    fn take(&self, session: &Session) -> Result<Question, Error> {
        let mut question = Question::default();
        for (index, limit) in self.limits.iter().enumerate() {
            let Some(key) = limit.by.of(session, &limit.prefix)? else {
                continue;
            };
            let of = match &limit.of {
                Of::Live(tally) => Taken::Place(tally.take(&key)?),
                Of::Rate(rate, buckets) => {
                    take_one(*rate, buckets.as_deref(), &key)?;
                    Taken::One(*rate)
                }
            };
            question.limits.push(Asked { index, key, of });
        }
        Ok(question)
    }

    async fn ask(self, mut question: Question) -> Result<Permit, Error> {
        question.tell(true);
        match (question.ask(&self.redis).await, self.redis.outage()) {
            (Ok(Answer::LetIn), _) | (Err(_), Outage::CountAlone) => {
                let holds = question.has_places();
                Ok(holds.then(|| Box::new(question) as _))
            }
            (Ok(Answer::Refused { index, wait }), _) => {
                // It has written nothing.
                question.tell(false);
                Err(self.refusal(index, wait).into())
            }
            (Err(_), Outage::Refuse) => Err(Limited::Unanswered {}.into()),
        }
    }

    fn refusal(&self, index: usize, wait: Duration) -> Limited {
        match self.limits.get(index).map(|limit| &limit.of) {
            Some(Of::Live(tally)) => Limited::Live { max: tally.max },
            Some(Of::Rate(rate, _)) => Limited::Rate {
                rate: *rate,
                retry_after: Some(wait),
            },
            None => Limited::Unanswered {},
        }
    }
}

fn take_one(
    rate: Rate,
    buckets: Option<&Buckets<Arc<str>>>,
    key: &Arc<str>,
) -> Result<(), Limited> {
    let refusal = |retry_after| Limited::Rate { rate, retry_after };
    let buckets = buckets.ok_or_else(|| refusal(None))?;
    let max = buckets.max_keys();
    let bucket = buckets
        .bucket(Arc::clone(key))
        .ok_or(Limited::Keys { max })?;
    bucket.take().map_err(|wait| refusal(Some(wait)))
}

impl fmt::Debug for RedisLimitsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimitsLayer")
            .field("redis", &self.redis)
            .field("lease", &self.lease)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for RedisLimitsLayer {
    type Service = RedisLimits<S>;

    fn layer(&self, inner: S) -> RedisLimits<S> {
        RedisLimits {
            limits: self.clone(),
            inner,
        }
    }
}
