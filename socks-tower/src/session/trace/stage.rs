//! A span around a stage, and a clock for it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tracing::{Span, debug_span};

use crate::session::{
    Session,
    watch::{StageKind, Watch},
};

/// A stage that is about to begin. Nothing is allocated unless somebody wants
/// its span or its time.
pub(crate) struct Entry(Option<Box<Active>>);

struct Active {
    span: Span,
    timed: Option<Timed>,
}

/// Notes its time when it is dropped, so that one that is given up counts.
struct Timed {
    kind: StageKind,
    watch: Watch,
    began: Instant,
    failed: bool,
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.watch.stage(self.kind, self.began, self.failed);
    }
}

/// Begins a stage of `session`: its span is a child of the current one.
pub(crate) fn stage(kind: StageKind, session: &Session) -> Entry {
    // The name of a span is part of its call site.
    let span = match kind {
        StageKind::Handshake => debug_span!("handshake"),
        StageKind::Authenticate => debug_span!("authenticate"),
        StageKind::Resolve => debug_span!("resolve"),
        StageKind::Authorize => debug_span!("authorize"),
        StageKind::Connect => debug_span!("connect"),
        StageKind::Bind => debug_span!("bind"),
    };
    let timed = (!session.watch.is_none()).then(|| Timed {
        kind,
        watch: session.watch.clone(),
        began: Instant::now(),
        failed: true,
    });
    Entry::new(span, timed)
}

/// Begins a UDP association, which nobody times: it has a duration as it is.
pub(crate) fn udp_associate() -> Entry {
    Entry::new(debug_span!("udp_associate"), None)
}

impl Entry {
    fn new(span: Span, timed: Option<Timed>) -> Self {
        let wanted = timed.is_some() || !span.is_disabled();
        Self(wanted.then(|| Box::new(Active { span, timed })))
    }

    /// Runs the stage.
    pub(crate) fn run<F, T, E>(self, stage: F) -> InStage<F, impl Fn(&Result<T, E>) -> bool>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.run_until(stage, Result::is_ok)
    }

    /// Runs the stage; `went_well` says whether it did.
    pub(crate) fn run_until<F, W>(self, stage: F, went_well: W) -> InStage<F, W>
    where
        F: Future,
        W: Fn(&F::Output) -> bool,
    {
        InStage {
            stage,
            active: self.0,
            went_well,
        }
    }
}

pin_project! {
    /// A stage in its span.
    pub(crate) struct InStage<F, W> {
        #[pin]
        stage: F,
        active: Option<Box<Active>>,
        went_well: W,
    }
}

impl<F: Future, W: Fn(&F::Output) -> bool> Future for InStage<F, W> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(active) = this.active else {
            return this.stage.poll(cx);
        };
        let polled = active.span.in_scope(|| this.stage.poll(cx));
        if let Poll::Ready(output) = &polled {
            if let Some(timed) = &mut active.timed {
                timed.failed = !(this.went_well)(output);
            }
            // Here it ends, and not when the future is dropped.
            *this.active = None;
        }
        polled
    }
}
