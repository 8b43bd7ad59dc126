//! What bulk consists of, and whether it arrives as it was sent.

use std::os::fd::AsFd;

use rustix::{
    io::{Errno, Result},
    net::{RecvFlags, recv},
};

/// Sent and received at once.
const CHUNK: usize = 256 * 1024;

/// It repeats itself behind so many bytes: no multiple of what pipes and
/// sockets move, so that nothing can be lost or change places unseen.
const PERIOD: usize = CHUNK - 1;

/// So much of each tunnel is compared. The rest is discarded by the kernel, so
/// that what the receiver does is no matter.
const COMPARED: usize = 1 << 20;

pub(crate) struct Noise(Vec<u8>);

impl Noise {
    pub(crate) fn new() -> Self {
        let period = (0..PERIOD as u64).map(|at| {
            let mixed = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ (mixed >> 29)).to_le_bytes()[4]
        });
        Self(period.cycle().take(PERIOD + CHUNK).collect())
    }

    /// For [`receive`](Self::receive).
    pub(crate) fn buffer(&self) -> Vec<u8> {
        vec![0; CHUNK]
    }

    /// What comes behind the first `sent` bytes.
    pub(crate) fn from(&self, sent: usize) -> &[u8] {
        &self.0[sent % PERIOD..][..CHUNK]
    }

    /// Receives what comes behind the first `received` bytes: `EBADMSG` if it is
    /// not what was sent.
    pub(crate) fn receive(
        &self,
        io: impl AsFd,
        received: &mut usize,
        buffer: &mut [u8],
    ) -> Result<usize> {
        let len = if *received < COMPARED {
            let (len, _) = recv(io, &mut *buffer, RecvFlags::empty())?;
            if buffer[..len] != self.from(*received)[..len] {
                return Err(Errno::BADMSG);
            }
            len
        } else {
            recv(io, buffer, RecvFlags::TRUNC)?.1
        };
        *received += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn what_was_sent_is_received_and_nothing_else() {
        let noise = Noise::new();
        let mut buffer = noise.buffer();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        for start in [0, PERIOD - 3, COMPARED - 3] {
            ours.write_all(&noise.from(start)[..7]).unwrap();
            let mut received = start;
            assert_eq!(noise.receive(&theirs, &mut received, &mut buffer), Ok(7));
            assert_eq!(received, start + 7);
        }
        // As if a chunk had been lost.
        ours.write_all(&noise.from(CHUNK)[..7]).unwrap();
        let received = noise.receive(&theirs, &mut 0, &mut buffer);
        assert_eq!(received, Err(Errno::BADMSG));
    }
}
