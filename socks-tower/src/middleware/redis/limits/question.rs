use std::{sync::Arc, time::Duration};

use super::tally::{Place, Tally};
use crate::middleware::{
    limit::Rate,
    redis::link::{Redis, Script, Unanswered},
};

static TAKE: Script = Script::new(include_str!("take.lua"));

/// What is asked for one connection: all its limits at once.
#[derive(Default)]
pub(super) struct Question {
    keys: Vec<Arc<str>>,
    limits: Vec<OfLimit>,
}

struct OfLimit {
    /// Which of the layer's it is.
    index: usize,
    kind: &'static str,
    args: [String; 4],
}

pub(super) enum Answer {
    LetIn,
    Refused { index: usize, wait: Duration },
}

impl Question {
    pub(super) fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    pub(super) fn live(&mut self, index: usize, key: Arc<str>, tally: &Tally, place: &Place) {
        let args = [
            tally.max.to_string(),
            place.count().to_string(),
            place.number().to_string(),
            tally.lease(),
        ];
        self.add(index, key, "live", args);
    }

    pub(super) fn rate(&mut self, index: usize, key: Arc<str>, rate: Rate) {
        let (interval, burst) = rate.quota().map_or((0, 0), |quota| {
            let interval = quota.replenish_interval().as_nanos();
            (interval, quota.burst_size().get())
        });
        // Microseconds, with what is left of them.
        let interval = format!("{}.{:03}", interval / 1000, interval % 1000);
        let args = [interval, burst.to_string(), String::new(), String::new()];
        self.add(index, key, "rate", args);
    }

    fn add(&mut self, index: usize, key: Arc<str>, kind: &'static str, args: [String; 4]) {
        self.keys.push(key);
        self.limits.push(OfLimit { index, kind, args });
    }

    pub(super) async fn ask(self, redis: &Redis) -> Result<Answer, Unanswered> {
        let mut call = TAKE.call(self.keys.len());
        for key in &self.keys {
            call.arg(&**key);
        }
        for limit in &self.limits {
            call.arg(limit.kind).arg(&limit.args);
        }
        let (number, wait): (usize, u64) = redis.run(&TAKE, &call).await?;
        let refused = number.checked_sub(1).and_then(|at| self.limits.get(at));
        Ok(match refused {
            None => Answer::LetIn,
            Some(limit) => Answer::Refused {
                index: limit.index,
                wait: Duration::from_micros(wait),
            },
        })
    }
}
