//! Lookups under way: one for each name, however many wait for it.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::{sync::oneshot, task::AbortHandle};

use crate::works::resolve::{Answer, LookupError, question::Question};

pub(super) type Outcome = Result<Answer, Arc<LookupError>>;

/// All lookups under way. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    flights: HashMap<Question, Flight>,
    last: u64,
}

struct Flight {
    number: u64,
    waiters: HashMap<u64, oneshot::Sender<Outcome>>,
    /// What is known before all is: of one family.
    early: Option<Answer>,
    task: AbortHandle,
}

impl Flights {
    /// Waits for the lookup of `question`; begins it by `fly`, on a task of its own, if
    /// there is none.
    pub(super) fn board<F>(&self, question: Question, fly: impl FnOnce(Pilot) -> F) -> Boarding
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut table = self.lock();
        table.last = table.last.wrapping_add(1);
        let number = table.last;
        let (sender, outcome) = oneshot::channel();
        let flight = table.flights.entry(question.clone()).or_insert_with(|| {
            let pilot = Pilot {
                flights: self.clone(),
                question: question.clone(),
                number,
            };
            let flying = fly(pilot.clone());
            let landing = Landing(pilot);
            let task = tokio::spawn(async move {
                let outcome = flying.await;
                landing.land(&outcome);
            });
            Flight {
                number,
                waiters: HashMap::new(),
                early: None,
                task: task.abort_handle(),
            }
        });
        match &flight.early {
            Some(early) => _ = sender.send(Ok(early.clone())),
            None => _ = flight.waiters.insert(number, sender),
        }
        Boarding {
            flights: self.clone(),
            question,
            number,
            outcome,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a lookup knows of itself.
#[derive(Clone)]
pub(super) struct Pilot {
    flights: Flights,
    question: Question,
    number: u64,
}

impl Pilot {
    /// Tells all who wait, and who will, what is known so far.
    pub(super) fn tell_early(&self, answer: &Answer) {
        let mut table = self.flights.lock();
        let Some(flight) = table.flights.get_mut(&self.question) else {
            return;
        };
        flight.early = Some(answer.clone());
        for (_, waiter) in flight.waiters.drain() {
            // Whoever waited may be about to leave.
            let _ = waiter.send(Ok(answer.clone()));
        }
    }

    fn remove(&self) -> Option<Flight> {
        let mut table = self.flights.lock();
        let is_this = table.flights.get(&self.question)?.number == self.number;
        is_this.then(|| table.flights.remove(&self.question))?
    }
}

/// Ends a lookup, also one whose runtime has ended: nobody is to wait for that.
struct Landing(Pilot);

impl Landing {
    fn land(&self, outcome: &Outcome) {
        let waiters = self.0.remove().map(|flight| flight.waiters);
        for waiter in waiters.into_iter().flat_map(HashMap::into_values) {
            let _ = waiter.send(outcome.clone());
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        drop(self.0.remove());
    }
}

/// A lookup that somebody waits for. Dropping it ends the lookup, if nobody else waits
/// for it and nobody was told anything yet.
pub(super) struct Boarding {
    flights: Flights,
    question: Question,
    number: u64,
    outcome: oneshot::Receiver<Outcome>,
}

/// None if the lookup has come to no end.
impl Future for Boarding {
    type Output = Option<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(cx).map(Result::ok)
    }
}

impl Drop for Boarding {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        let Some(flight) = table.flights.get_mut(&self.question) else {
            return;
        };
        if flight.waiters.remove(&self.number).is_some() && flight.waiters.is_empty() {
            flight.task.abort();
            let flight = table.flights.remove(&self.question);
            drop(table);
            drop(flight);
        }
    }
}
