//! Bulk between two plain sockets, carried by the kernel alone.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::io::Interest;

use super::{Allowance, Broken, Flow, Held, Pipe, Rest, State};
use crate::session::{Stream, tcp};

/// A splice that brings fewer bytes than this was not worth it.
pub(super) const LEAST: usize = 16 * 1024;

/// Bytes that the largest pipe takes.
pub(super) const MOST: usize = 1024 * 1024;

impl Flow {
    /// Moves what the source has into a pipe. False if nothing was moved: copy.
    pub(super) fn splice<S: Stream, D: Stream>(
        &mut self,
        source: &S,
        destination: &D,
        allowance: &mut Allowance<'_>,
    ) -> Result<bool, Broken> {
        self.splicing = false;
        let (Some(source), Some(_)) = (tcp(source), tcp(destination)) else {
            return Ok(false);
        };
        let Some(mut pipe) = Pipe::lend() else {
            return Ok(false);
        };
        let most = allowance.bytes();
        let filled = match source.try_io(Interest::READABLE, || pipe.fill(source, most)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            filled => filled,
        };
        match filled {
            Ok(Some(0)) => self.state = State::SourceEnded,
            Ok(Some(moved)) => {
                let moved = moved as usize;
                // What the policy cut short is no sign of a slow source.
                self.splicing = moved >= LEAST.min(most);
                allowance.spend(moved);
                self.held = Held::Pipe(pipe);
            }
            // A read has the last word: a splice never passes urgent data, and
            // says that there is nothing.
            Ok(None) => {
                self.splicing = true;
                return Ok(false);
            }
            Err(_) => {
                self.state = State::SourceEnded;
                return Err(Broken::Source);
            }
        }
        Ok(true)
    }

    /// Moves what is in `pipe` on. It goes back to its pool once it is empty.
    pub(super) fn poll_drain<D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut D,
        mut pipe: Pipe,
    ) -> Poll<Result<(), Broken>> {
        let Some(destination) = tcp(stream) else {
            return Poll::Ready(Err(Broken::Destination));
        };
        while !pipe.is_empty() {
            let Poll::Ready(ready) = destination.poll_write_ready(cx) else {
                self.held = Held::Pipe(pipe);
                return Poll::Pending;
            };
            let drained = ready
                .and_then(|()| destination.try_io(Interest::WRITABLE, || pipe.drain(destination)));
            match drained {
                Ok(Some(moved)) => self.bytes += u64::from(moved),
                Ok(None) => return self.poll_copy_out(cx, stream, pipe),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(Broken::Destination)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what is in `pipe` on though the system refuses to.
    fn poll_copy_out<D: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        destination: &mut D,
        mut pipe: Pipe,
    ) -> Poll<Result<(), Broken>> {
        let Ok(bytes) = pipe.take() else {
            return Poll::Ready(Err(Broken::Destination));
        };
        self.poll_write_rest(cx, destination, Rest::new(bytes))
    }
}
