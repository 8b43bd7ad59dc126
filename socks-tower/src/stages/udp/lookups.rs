//! Asks the judge about new destinations, while datagrams go on.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use socks_core::{Host, Target, v5::ReplyCode};
use tokio::task::{Id, JoinSet};
use tracing::{Instrument, debug};

use super::flows::FlowId;
use crate::session::{Chain, DropReason, Error, ErrorKind, Judge, Pinned, Request, timeout};

/// Look-ups of an association that are under way.
const MAX: usize = 32;

/// However patient the judge is: nobody waits for a datagram for longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the judge says of a destination.
pub(super) type Verdict = Result<Pinned, DropReason>;

/// The judge is not done yet.
type Judging = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// The judge, and what it was asked and has not said.
pub(super) struct Lookups<J> {
    judge: J,
    request: Request,
    tasks: JoinSet<Verdict>,
    flows: HashMap<Id, FlowId>,
}

impl<J: Judge> Lookups<J> {
    /// Asks `judge` as the client of `request`, whatever its target.
    pub(super) fn new(judge: J, request: Request) -> Self {
        Self {
            judge,
            request,
            tasks: JoinSet::new(),
            flows: HashMap::new(),
        }
    }

    /// Asks about `target`; gives the verdict if it is there at once, as it is
    /// for most addresses. That saves a task, and the datagram its wait.
    pub(super) fn ask(&self, target: Target) -> Result<Verdict, Option<Judging>> {
        let is_full = self.tasks.len() >= MAX;
        if is_full && matches!(target.host, Host::Name(_)) {
            return Err(None);
        }
        let request = self.request.for_work().with_target(target);
        let mut judging: Judging = Box::pin(ask(self.judge.clone(), request));
        // Whoever polls it next brings a waker.
        match judging
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(verdict) => Ok(verdict),
            Poll::Pending => Err((!is_full).then_some(judging)),
        }
    }

    /// Whether what is not urgent should wait, so that new destinations need not.
    pub(super) fn is_busy(&self) -> bool {
        self.tasks.len() >= MAX / 2
    }

    /// Waits for the verdict on the flow `id`, by a task of its own.
    pub(super) fn wait(&mut self, judging: Judging, id: FlowId) {
        let judging = async {
            let verdict = timeout(TIMEOUT, judging).await;
            verdict.unwrap_or(Err(DropReason::Unresolved))
        };
        let task = self.tasks.spawn(judging.in_current_span());
        self.flows.insert(task.id(), id);
    }

    /// Ready with a verdict as long as there is one, then pending until there
    /// is; with none while nothing was asked.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(FlowId, Verdict)>> {
        loop {
            let Some(done) = ready!(self.tasks.poll_join_next_with_id(cx)) else {
                return Poll::Ready(None);
            };
            let (task, verdict) = match done {
                Ok(done) => done,
                // The judge panicked.
                Err(error) => (error.id(), Err(DropReason::Unresolved)),
            };
            if let Some(id) = self.flows.remove(&task) {
                return Poll::Ready(Some((id, verdict)));
            }
        }
    }
}

async fn ask<J>(judge: J, request: Request) -> Verdict
where
    J: Judge,
{
    let target = request.target.clone();
    let judged = judge.run(request).await;
    judged.map(|request| request.target).map_err(|error| {
        let error = Error::of_work(ErrorKind::Other, error);
        debug!(%target, error = Chain(&error).text().as_str(), "destination refused");
        match error.reply() {
            ReplyCode::CONNECTION_NOT_ALLOWED => DropReason::Denied,
            _ => DropReason::Unresolved,
        }
    })
}
