use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use super::{
    Begun, Heads, Wrong,
    head::{self, Awaited, Body},
};

/// What is awaited of an origin: its wire hears of it from whoever asks.
#[derive(Clone)]
pub(in super::super) struct Expected(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    awaited: Option<Awaited>,
    has_heard: bool,
    has_switched: bool,
    persists: bool,
}

impl Expected {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One response.
    pub(in super::super) fn of(awaited: Awaited) -> Self {
        let state = State {
            awaited: Some(awaited),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Whether the origin speaks another protocol from here on.
    pub(in super::super) fn has_switched(&self) -> bool {
        self.lock().has_switched
    }

    /// Whether the origin takes another request behind this one.
    pub(in super::super) fn persists(&self) -> bool {
        self.lock().persists
    }

    /// Whether anything came.
    pub(in super::super) fn has_heard(&self) -> bool {
        self.lock().has_heard
    }
}

/// The heads of an origin's responses.
pub(in super::super) struct Responses(pub(in super::super) Expected);

impl Heads for Responses {
    fn poll_open(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn begins(&mut self, input: &[u8]) -> Result<Option<Begun>, Wrong> {
        const HTTP: &[u8] = b"HTTP/1.";
        let mut state = self.0.lock();
        state.has_heard = true;
        match state.awaited {
            None => Err(Wrong::Unasked),
            Some(_) if input.iter().zip(HTTP).all(|(it, http)| it == http) => Ok(Some(Begun::Head)),
            Some(_) => Err(Wrong::NoAnswer),
        }
    }

    fn read(&mut self, input: &[u8], len: usize) -> Result<Option<Body>, Wrong> {
        let mut state = self.0.lock();
        let awaited = state.awaited.ok_or(Wrong::Unasked)?;
        let response = input.get(..len).unwrap_or_default();
        let (body, persists) = head::response(response, awaited, input.len() > len)?;
        if body.is_some() {
            state.awaited = None;
        }
        state.has_switched = body == Some(Body::Switched);
        state.persists = persists;
        Ok(body)
    }

    fn poll_late(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Wrong>> {
        Poll::Pending
    }

    fn refuse(&mut self, wrong: Wrong) -> io::Error {
        wrong.into()
    }
}
