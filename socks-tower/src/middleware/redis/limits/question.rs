use std::{sync::Arc, time::Duration};

use redis::Cmd;

use super::tally::Place;
use crate::middleware::{
    limit::Rate,
    redis::link::{Redis, Script, Unanswered},
};

static TAKE: Script = Script::new(include_str!("take.lua"));

/// What is asked for one connection: all its limits at once.
#[derive(Default)]
pub(super) struct Question {
    pub(super) limits: Vec<Asked>,
}

/// What is asked of one limit.
pub(super) struct Asked {
    /// Which of the layer's it is.
    pub(super) index: usize,
    pub(super) key: Arc<str>,
    pub(super) of: Taken,
}

/// What this node has given.
pub(super) enum Taken {
    Place(Place),
    One(Rate),
}

pub(super) enum Answer {
    LetIn,
    Refused { index: usize, wait: Duration },
}

impl Question {
    pub(super) async fn ask(&self, redis: &Redis) -> Result<Answer, Unanswered> {
        let (number, wait): (usize, u64) = redis.run(&TAKE, &self.call()).await?;
        let refused = number.checked_sub(1).and_then(|at| self.limits.get(at));
        Ok(match refused {
            None => Answer::LetIn,
            Some(limit) => Answer::Refused {
                index: limit.index,
                wait: Duration::from_micros(wait),
            },
        })
    }

    fn call(&self) -> Cmd {
        let mut call = TAKE.call(self.limits.len());
        for limit in &self.limits {
            call.arg(&*limit.key);
        }
        for limit in &self.limits {
            match &limit.of {
                Taken::Place(place) => place.ask(&mut call),
                Taken::One(rate) => ask_rate(*rate, &mut call),
            }
        }
        call
    }

    /// Whether Redis may have counted the places.
    pub(super) fn tell(&mut self, told: bool) {
        for limit in &mut self.limits {
            if let Taken::Place(place) = &mut limit.of {
                place.told = told;
            }
        }
    }

    pub(super) fn has_places(&self) -> bool {
        let is_place = |limit: &Asked| matches!(limit.of, Taken::Place(_));
        self.limits.iter().any(is_place)
    }
}

fn ask_rate(rate: Rate, call: &mut Cmd) {
    let (interval, burst) = rate.quota().map_or((0, 0), |quota| {
        let interval = quota.replenish_interval().as_nanos();
        (interval, quota.burst_size().get())
    });
    // Microseconds, with what is left of them.
    let interval = format!("{}.{:03}", interval / 1000, interval % 1000);
    call.arg("rate")
        .arg(interval)
        .arg(burst)
        .arg("")
        .arg("")
        .arg("");
}
