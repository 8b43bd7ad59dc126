use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{PoolError, UpstreamPool, blame::Blame};
use crate::session::{Connector, Request, Session, timeout};
use socks_core::v5::Command;

impl<C> UpstreamPool<C> {
    /// Connects to `target` through each upstream every so often, and drops the
    /// connection: whoever does not connect has failed, whoever does is in. It runs
    /// until it is dropped: spawn it.
    ///
    /// Take a target that is always there: an answer *about* the target, that it
    /// refused, will do as well as a connection, but one that it cannot be reached
    /// counts against the upstream. While probes run, they alone bring back an upstream
    /// that is out, and no client's request is spent on that.
    ///
    /// A probe has as long as a try of a request has.
    ///
    /// # Panics
    ///
    /// If `every` is zero.
    pub async fn probe<T>(&self, target: T, every: Duration)
    where
        T: Clone + Send + 'static,
        C: Connector<Request<T>>,
    {
        let _probing = self.members.begin_probes();
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut probes = JoinSet::new();
            for member in &*self.members.snapshot() {
                let request = Request::new(Session::new(), Command::CONNECT, target.clone());
                let connecting = member.connector().run(request);
                let connecting = timeout(self.timeout / 2, connecting);
                let health = member.health.clone();
                let breaker = self.breaker;
                probes.spawn(async move {
                    let answer = match connecting.await {
                        Ok(answer) => answer.map(drop),
                        Err(source) => Err(PoolError::TimedOut {
                            upstream: health.name().clone(),
                            source,
                        }
                        .into()),
                    };
                    match answer.map_err(|error| (Blame::of(&error), error)) {
                        Ok(()) | Err((Blame::Target, _)) => health.restore(),
                        Err((Blame::Ours, _)) => {}
                        Err((_, error)) => health.fail(&breaker, false, &error),
                    }
                });
            }
            while probes.join_next().await.is_some() {}
        }
    }
}
