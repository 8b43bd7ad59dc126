use std::{fmt::Write as _, sync::Arc};

use tower_layer::Layer;

use super::{Json, ThreeProxy, queue::Queue};
use crate::{
    middleware::observe::{Observe, ObserveLayer},
    session::watch::{Observer, Summary},
};

/// Hands a line to a sink whenever a session ends. See the
/// [module's page](crate::middleware::access_log).
#[derive(Clone, Debug)]
pub struct AccessLogLayer {
    observe: ObserveLayer,
    queue: Arc<Queue>,
}

impl AccessLogLayer {
    /// Lines in 3proxy's form.
    ///
    /// `sink` is given whole lines, the line feed included, one after the other
    /// on a thread of its own. It may block.
    #[must_use]
    pub fn three_proxy(sink: impl FnMut(&str) + Send + 'static) -> Self {
        Self::new(
            |summary, line| writeln!(line, "{}", ThreeProxy::new(summary)),
            sink,
        )
    }

    /// Lines of JSON, an object each.
    ///
    /// `sink` is given whole lines, the line feed included, one after the other
    /// on a thread of its own. It may block.
    #[must_use]
    pub fn json(sink: impl FnMut(&str) + Send + 'static) -> Self {
        Self::new(
            |summary, line| writeln!(line, "{}", Json::new(summary)),
            sink,
        )
    }

    fn new(write: Write, sink: impl FnMut(&str) + Send + 'static) -> Self {
        let queue = Arc::new(Queue::new(sink));
        let lines = Lines {
            write,
            queue: Arc::clone(&queue),
        };
        Self {
            observe: ObserveLayer::new(lines),
            queue,
        }
    }

    /// How many lines were dropped so far: the queue was full as they came, or
    /// the sink panicked.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.queue.dropped()
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        self.observe.layer(inner)
    }
}

type Write = fn(&Summary<'_>, &mut String) -> std::fmt::Result;

struct Lines {
    write: Write,
    queue: Arc<Queue>,
}

impl Observer for Lines {
    fn ended(&self, summary: &Summary<'_>) {
        let mut line = String::with_capacity(256);
        // It cannot fail: a string takes all.
        if (self.write)(summary, &mut line).is_ok() {
            self.queue.push(line);
        }
    }
}
