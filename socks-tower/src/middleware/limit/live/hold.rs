use std::any::Any;

use crate::session::{IntoOutbound, Outbound, Sealed, Stream, Transfer};

/// What a [`LiveLimitLayer`](super::LiveLimitLayer) can wait for the end of:
/// the answer of a service that says when a connection ends.
///
/// A stage's answer, a [`Transfer`], comes when the session is over. A
/// connector's comes when the tunnel begins: it takes the permit along, as an
/// [`Outbound`].
#[diagnostic::on_unimplemented(
    message = "a live limit cannot tell when a `{Self}` ends",
    label = "answers with `{Self}`",
    note = "`LiveLimitLayer` stands between the stages, or around a connector; around other works, `RateLimitLayer` does"
)]
pub trait Hold: Sealed {
    /// The answer, with the permit if it needs one.
    type Holding;

    /// Holds `permit` for as long as there is a connection.
    fn hold(self, permit: impl Any + Send) -> Self::Holding;
}

impl Hold for Transfer {
    type Holding = Self;

    fn hold(self, permit: impl Any + Send) -> Self {
        drop(permit);
        self
    }
}

impl<Io: Stream> Hold for Outbound<Io> {
    type Holding = Self;

    fn hold(self, permit: impl Any + Send) -> Self {
        self.with_guard(permit)
    }
}

impl<Io: Stream> Hold for Io {
    type Holding = Outbound<Io>;

    fn hold(self, permit: impl Any + Send) -> Outbound<Io> {
        self.into_outbound().with_guard(permit)
    }
}
