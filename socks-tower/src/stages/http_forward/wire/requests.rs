use std::{
    future::{Future, Pending, pending},
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    Begun, Heads, Wrong,
    head::{self, Asked, Body},
};
use crate::{
    session::{TimeoutAt, timeout, timeout_at},
    stages::{
        http_connect::head::{Room, SHORT_LEN},
        http_forward::layer::Ending,
    },
};

/// What a tunnel's request begins with.
pub(in super::super) const CONNECT: &[u8] = b"CONNECT ";

/// The most bytes that wait to be written before an answer: what an origin says
/// beside it is dropped then.
const MAX_INTERIM: usize = 16 * 1024;

/// Where a client's wire and the service that answers it leave things for each other.
#[derive(Clone, Default)]
pub(in super::super) struct Desk(Arc<Mutex<OnDesk>>);

#[derive(Default)]
pub(in super::super) struct OnDesk {
    /// The request that hyper has been given.
    pub(in super::super) asked: Option<Asked>,
    /// What has come makes no sense: nothing more is read.
    pub(in super::super) wrong: Option<Wrong>,
    /// The next request is a CONNECT.
    pub(in super::super) is_connect: bool,
    /// No request is served but those that have come.
    pub(in super::super) is_last: bool,
    turn: Turn,
    /// How much of the answer has been written, in pieces.
    written: usize,
    /// Who waits until a request has been answered.
    waits: Option<Waker>,
    interim: Vec<u8>,
}

impl OnDesk {
    /// Whether some of an answer has been written, so that there is no other.
    pub(in super::super) fn has_begun(&self) -> bool {
        self.written > 0
    }

    /// How far the answer that is being written has come, if one is.
    pub(in super::super) fn progress(&self) -> Option<usize> {
        (self.turn != Turn::Awaited).then_some(self.written)
    }
}

/// Where a request is.
#[derive(Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Awaited,
    /// It is being answered.
    Served,
    /// Its answer is complete, and perhaps not written.
    Answered,
}

impl Desk {
    pub(in super::super) fn lock(&self) -> MutexGuard<'_, OnDesk> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer is complete.
    pub(in super::super) fn answered(&self) {
        self.lock().turn = Turn::Answered;
    }

    /// Is to be written before the answer.
    pub(in super::super) fn say(&self, interim: &[u8]) {
        let mut desk = self.lock();
        if desk.interim.len() + interim.len() <= MAX_INTERIM {
            desk.interim.extend_from_slice(interim);
        }
    }
}

/// The heads of a client's requests.
pub(in super::super) struct Requests {
    desk: Desk,
    idle: Duration,
    /// How long a head may take that has begun.
    timeout: Duration,
    room: Room,
    /// Ours, of `room`.
    place: Option<OwnedSemaphorePermit>,
    begun: bool,
    /// Ready when the connection is to be kept no longer.
    end: Option<Ending>,
    timer: Option<Pin<Box<TimeoutAt<Pending<()>>>>>,
}

impl Requests {
    /// The first is complete by `deadline`.
    pub(in super::super) fn new(
        desk: Desk,
        room: Room,
        deadline: Instant,
        timeout: Duration,
        idle: Duration,
        end: Option<Ending>,
    ) -> Self {
        Self {
            desk,
            idle,
            timeout,
            room,
            place: None,
            begun: true,
            end,
            timer: Some(Box::pin(timeout_at(deadline, pending()))),
        }
    }
}

impl Heads for Requests {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut desk = self.desk.lock();
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            desk.is_last = true;
            self.end = None;
        }
        if desk.turn == Turn::Awaited {
            return Poll::Ready(());
        }
        desk.waits = Some(cx.waker().clone());
        Poll::Pending
    }

    fn begins(&mut self, input: &[u8]) -> Result<Option<Begun>, Wrong> {
        if !self.begun && self.desk.lock().is_last {
            return Ok(None);
        }
        match input {
            // As some say after a body (RFC 9112 section 2.2).
            [b'\r', b'\n', ..] => return Ok(Some(Begun::Skip(2))),
            [b'\r'] => return Ok(Some(Begun::Head)),
            [first, ..] => head::may_begin_request(*first)?,
            [] => {}
        }
        if !mem::replace(&mut self.begun, true) {
            self.timer = None;
        }
        if input.starts_with(CONNECT) {
            self.desk.lock().is_connect = true;
            return Ok(None);
        }
        if input.len() >= SHORT_LEN && self.place.is_none() {
            self.place = Some(self.room.place().ok_or(Wrong::NoRoom)?);
        }
        Ok(Some(Begun::Head))
    }

    fn read(&mut self, input: &[u8], len: usize) -> Result<Option<Body>, Wrong> {
        let (asked, body) = head::request(input.get(..len).unwrap_or_default())?;
        let mut desk = self.desk.lock();
        desk.asked = Some(asked);
        desk.turn = Turn::Served;
        desk.written = 0;
        self.place = None;
        self.begun = false;
        self.timer = None;
        Ok(Some(body))
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Wrong>> {
        let begun = self.begun;
        if !begun && self.desk.lock().is_last {
            return Poll::Ready(Ok(()));
        }
        let time = if begun { self.timeout } else { self.idle };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(timeout(time, pending())));
        let _elapsed = ready!(timer.as_mut().poll(cx));
        Poll::Ready(if begun { Err(Wrong::Late) } else { Ok(()) })
    }

    fn refuse(&mut self, wrong: Wrong) -> io::Error {
        self.desk.lock().wrong.get_or_insert(wrong);
        io::ErrorKind::InvalidData.into()
    }

    fn to_write_first(&mut self) -> Vec<u8> {
        mem::take(&mut self.desk.lock().interim)
    }

    fn written(&mut self) {
        self.desk.lock().written += 1;
    }

    fn flushed(&mut self) {
        let mut desk = self.desk.lock();
        if desk.turn == Turn::Answered {
            desk.turn = Turn::Awaited;
            desk.written = 0;
            if let Some(waits) = desk.waits.take() {
                waits.wake();
            }
        }
    }
}
