//! Bulk between two plain sockets, carried by the kernel alone.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::io::Interest;

use super::{Broken, Flow, Held, Pipe, State};
use crate::{Stream, tcp};

/// A splice that brings fewer bytes than this was not worth it.
const MIN_SPLICE: u32 = 16 * 1024;

impl Flow {
    /// Moves what the source has into a pipe. False if nothing was moved: copy.
    pub(super) fn splice<S: Stream, D: Stream>(
        &mut self,
        source: &S,
        destination: &D,
    ) -> Result<bool, Broken> {
        self.splicing = false;
        let (Some(source), Some(_)) = (tcp(source), tcp(destination)) else {
            return Ok(false);
        };
        let Some(mut pipe) = Pipe::lend() else {
            return Ok(false);
        };
        let filled = match source.try_io(Interest::READABLE, || pipe.fill(source)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            filled => filled,
        };
        match filled {
            Ok(Some(0)) => self.state = State::SourceEnded,
            Ok(Some(moved)) => {
                self.splicing = moved >= MIN_SPLICE;
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
        destination: &mut D,
        mut pipe: Pipe,
    ) -> Poll<Result<(), Broken>> {
        let Some(destination) = tcp(destination) else {
            return Poll::Ready(Err(Broken::Destination));
        };
        while !pipe.is_empty() {
            let Poll::Ready(ready) = destination.poll_write_ready(cx) else {
                self.held = Held::Pipe(pipe);
                return Poll::Pending;
            };
            let drained = ready.and_then(|()| {
                destination.try_io(Interest::WRITABLE, || {
                    self.bytes += u64::from(pipe.drain(destination)?);
                    // As short as a short write: the socket is full.
                    match pipe.is_empty() {
                        true => Ok(()),
                        false => Err(io::ErrorKind::WouldBlock.into()),
                    }
                })
            });
            match drained {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(Broken::Destination));
                }
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}
