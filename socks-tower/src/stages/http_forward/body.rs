//! Bodies on their way, both ways.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};

use super::{fields, wire::Desk};

/// How long a client that waits to be told that it may go on is let wait for its
/// origin to say so: some never do (RFC 9110 section 10.1.1).
const PATIENCE: Duration = Duration::from_secs(1);

/// The body of a request, on its way to the origin.
pub(super) struct Upload {
    /// None if there is none, or nobody wants it.
    incoming: Option<Incoming>,
    gate: Option<Gate>,
    is_unwanted: bool,
}

/// Opens when the origin wants the body. Until then nothing is read of it, and so the
/// client is not told to go on.
struct Gate {
    opens: oneshot::Receiver<()>,
    patience: Pin<Box<Sleep>>,
}

/// Opens the gate. Dropped before, it closes it for good.
pub(super) type Opener = oneshot::Sender<()>;

impl Upload {
    pub(super) fn none() -> Self {
        Self {
            incoming: None,
            gate: None,
            is_unwanted: false,
        }
    }

    pub(super) fn now(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            gate: None,
            is_unwanted: false,
        }
    }

    /// Once the origin says so.
    pub(super) fn later(incoming: Incoming) -> (Self, Opener) {
        let (opener, opens) = oneshot::channel();
        let gate = Gate {
            opens,
            patience: Box::pin(sleep(PATIENCE)),
        };
        let upload = Self {
            incoming: Some(incoming),
            gate: Some(gate),
            is_unwanted: false,
        };
        (upload, opener)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(gate) = &mut this.gate {
            match Pin::new(&mut gate.opens).poll(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_dropped)) => {
                    this.incoming = None;
                    this.is_unwanted = true;
                }
                Poll::Pending => ready!(gate.patience.as_mut().poll(cx)),
            }
            this.gate = None;
        }
        if this.is_unwanted {
            // Nor does anybody wait for the end of its message.
            return Poll::Pending;
        }
        match &mut this.incoming {
            Some(incoming) => poll_frame(incoming, cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let incoming = self.incoming.as_ref();
        incoming.is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// The body of a response, on its way to the client.
pub(super) struct Download {
    content: Content,
    desk: Option<Desk>,
    /// Is told when it is over.
    leaver: Option<oneshot::Sender<()>>,
}

enum Content {
    Origins(Incoming),
    Ours(Option<Bytes>),
}

impl Download {
    /// An origin's.
    pub(super) fn of(incoming: Incoming, desk: &Desk) -> Self {
        Self {
            content: Content::Origins(incoming),
            desk: Some(desk.clone()),
            leaver: None,
        }
    }

    /// Our own.
    pub(super) fn ours(text: String, desk: &Desk) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        Self {
            content: Content::Ours(text.map(Bytes::from)),
            desk: Some(desk.clone()),
            leaver: None,
        }
    }

    /// None: what follows is no HTTP, and no next request is awaited.
    pub(super) fn switched() -> Self {
        Self {
            content: Content::Ours(None),
            desk: None,
            leaver: None,
        }
    }

    /// Tells when it is over: nobody waits for the rest of the request then.
    pub(super) fn telling(mut self, leaver: oneshot::Sender<()>) -> Self {
        self.leaver = Some(leaver);
        self
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(desk) = &self.desk {
            desk.answered();
        }
        if let Some(leaver) = self.leaver.take() {
            // It may be gone.
            let _ = leaver.send(());
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().content {
            Content::Origins(incoming) => poll_frame(incoming, cx),
            Content::Ours(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Origins(incoming) => incoming.is_end_stream(),
            Content::Ours(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Origins(incoming) => incoming.size_hint(),
            Content::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

fn poll_frame(
    incoming: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let frame = ready!(Pin::new(incoming).poll_frame(cx));
    Poll::Ready(frame.map(|frame| match frame?.into_trailers() {
        Ok(mut trailers) => {
            fields::of_trailers(&mut trailers);
            Ok(Frame::trailers(trailers))
        }
        Err(frame) => Ok(frame),
    }))
}
