use std::fmt::Write as _;

use tower_layer::Layer;

use super::{Json, ThreeProxy};
use crate::{
    middleware::observe::{Observe, ObserveLayer},
    session::watch::{Observer, Summary},
};

/// Hands a line to a sink whenever a session ends. See the
/// [module's page](crate::middleware::access_log).
#[derive(Clone, Debug)]
pub struct AccessLogLayer {
    observe: ObserveLayer,
}

impl AccessLogLayer {
    /// Lines in 3proxy's form.
    ///
    /// `sink` is given whole lines, the line feed included. It is called in the
    /// session's task, so it must not block.
    #[must_use]
    pub fn three_proxy(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self::new(
            |summary, line| writeln!(line, "{}", ThreeProxy::new(summary)),
            sink,
        )
    }

    /// Lines of JSON, an object each.
    ///
    /// `sink` is given whole lines, the line feed included. It is called in the
    /// session's task, so it must not block.
    #[must_use]
    pub fn json(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self::new(
            |summary, line| writeln!(line, "{}", Json::new(summary)),
            sink,
        )
    }

    fn new(write: Write, sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            observe: ObserveLayer::new(Lines { write, sink }),
        }
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        self.observe.layer(inner)
    }
}

type Write = fn(&Summary<'_>, &mut String) -> std::fmt::Result;

struct Lines<F> {
    write: Write,
    sink: F,
}

impl<F: Fn(&str) + Send + Sync + 'static> Observer for Lines<F> {
    fn ended(&self, summary: &Summary<'_>) {
        let mut line = String::with_capacity(256);
        // It cannot fail: a string takes all.
        if (self.write)(summary, &mut line).is_ok() {
            (self.sink)(&line);
        }
    }
}
