//! Pipes for `splice(2)`, lent from a pool of the thread's.

use std::{
    cell::RefCell,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    io::{Errno, read, retry_on_intr},
    pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice},
};

use crate::session::BulkThreads;

/// Bytes that a pipe is to hold, best first. An ordinary user is granted about
/// 64 pipes of the first size, and after them some smaller ones.
const SIZES: [usize; 2] = [1024 * 1024, 256 * 1024];

/// Through a smaller pipe, splicing is slower than copying.
const MIN_SIZE: u32 = 64 * 1024;

/// Pipes in the whole process. A flow holds one only while its destination is
/// slower than its source, but then it may hold it for long, with all that is
/// in it; who comes later copies. An ordinary user is granted fewer anyway.
const MAX_LIVE: usize = 128;

/// Pipes that a thread keeps for later. Each costs two descriptors, and the
/// kernel 20 KiB.
const MAX_IDLE: usize = 8;

/// How long a thread copies after the system refused it a pipe.
const RETRY: Duration = Duration::from_secs(1);

/// A pipe on loan. It goes back to the pool when it is dropped, if it is empty.
///
/// None once it is dropped. In a box, for most flows never have any.
#[derive(Debug)]
pub(super) struct Pipe(Option<Box<Ends>>);

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    size: u32,
    /// Bytes in it: exact, since they pass through [`Pipe::fill`] and [`Pipe::drain`]
    /// alone.
    filled: u32,
    _live: Live,
}

/// Counts a pipe for as long as there is one.
#[derive(Debug)]
struct Live;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The system refused to splice. It would again: nobody tries any more.
static REFUSED: AtomicBool = AtomicBool::new(false);

struct Pool {
    #[expect(clippy::vec_box, reason = "they are lent as boxes")]
    idle: Vec<Box<Ends>>,
    refused: Option<Instant>,
}

thread_local! {
    static POOL: RefCell<Pool> = const {
        RefCell::new(Pool { idle: Vec::new(), refused: None })
    };
}

impl Pipe {
    /// An empty pipe; none if the system grants no more, or has refused to
    /// splice.
    pub(super) fn lend() -> Option<Self> {
        if REFUSED.load(Ordering::Relaxed) || !sigpipe_is_survived() {
            return None;
        }
        let ends = POOL.try_with(|pool| pool.try_borrow_mut().ok()?.lend());
        ends.ok().flatten().map(|ends| Self(Some(ends)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|ends| ends.filled == 0)
    }

    /// Moves what `source` has into the pipe, which is empty, up to `most`
    /// bytes, and says how many that was: 0 at its end, none if there is
    /// nothing to be moved now, or only by copying.
    ///
    /// # Errors
    ///
    /// The source's.
    pub(super) fn fill(&mut self, source: impl AsFd, most: usize) -> io::Result<Option<u32>> {
        let Some(ends) = &mut self.0 else {
            return Ok(None);
        };
        // The pipe is not what is full, so it is the source that would block.
        let len = u32::try_from(most).map_or(ends.size, |most| most.min(ends.size));
        let moved = match shift(source, &ends.write, len) {
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) if is_refusal(errno) => {
                give_up(errno);
                return Ok(None);
            }
            moved => moved?,
        };
        ends.filled += moved;
        Ok(Some(moved))
    }

    /// Moves what is in the pipe to `destination`, and says how many bytes that
    /// was; none if they can be moved only by copying.
    ///
    /// # Errors
    ///
    /// The destination's. [`io::ErrorKind::WouldBlock`] alone says that it is
    /// full: a signal, too, leaves some in the pipe.
    pub(super) fn drain(&mut self, destination: impl AsFd) -> io::Result<Option<u32>> {
        let Some(ends) = &mut self.0 else {
            return Ok(Some(0));
        };
        let moved = match shift(&ends.read, destination, ends.filled) {
            Err(errno) if is_refusal(errno) => {
                give_up(errno);
                return Ok(None);
            }
            moved => moved?,
        };
        ends.filled = ends.filled.saturating_sub(moved);
        Ok(Some(moved))
    }

    /// Takes out what is in the pipe, to be copied.
    ///
    /// # Errors
    ///
    /// The system's, and [`io::ErrorKind::UnexpectedEof`] if less is in it than
    /// went in.
    pub(super) fn take(&mut self) -> io::Result<Box<[u8]>> {
        let Some(ends) = &mut self.0 else {
            return Ok(Box::default());
        };
        let mut bytes = vec![0; ends.filled as usize].into_boxed_slice();
        let mut rest = &mut *bytes;
        while !rest.is_empty() {
            let len = retry_on_intr(|| read(&ends.read, &mut *rest))?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            rest = rest.get_mut(len..).unwrap_or_default();
        }
        ends.filled = 0;
        Ok(bytes)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // What is left in it is some session's, and must never reach another:
        // such a pipe is closed. So is one of a tunnel that another thread cuts.
        let keeps = self.is_empty() && !BulkThreads::are_offered();
        if let Some(ends) = self.0.take().filter(|_| keeps) {
            let _ = POOL.try_with(|pool| pool.try_borrow_mut().map(|mut pool| pool.keep(ends)));
        }
    }
}

fn shift(from: impl AsFd, to: impl AsFd, len: u32) -> Result<u32, Errno> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    let moved = retry_on_intr(|| splice(&from, None, &to, None, len as usize, flags))?;
    // It moves no more than it was told to.
    u32::try_from(moved).map_err(|_error| Errno::OVERFLOW)
}

/// What a system says that does not splice, or a sandbox that forbids it, and
/// no connected socket says of itself.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP
    )
}

fn give_up(errno: Errno) {
    if !REFUSED.swap(true, Ordering::Relaxed) {
        let error = io::Error::from(errno);
        tracing::warn!(%error, "the system refuses to splice: copying instead");
    }
}

/// Whether SIGPIPE, which a splice to a closed connection raises, is ignored or
/// caught, as in every Rust program that does not choose otherwise. Asked once.
fn sigpipe_is_survived() -> bool {
    static SURVIVED: OnceLock<bool> = OnceLock::new();
    *SURVIVED.get_or_init(|| {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let survived = handles_sigpipe(&status);
        if !survived {
            tracing::warn!(
                "SIGPIPE would end this program, so it does not splice: copying instead"
            );
        }
        survived
    })
}

/// By the masks of what is ignored, and of what is caught; false where there is
/// neither to read.
fn handles_sigpipe(status: &str) -> bool {
    /// 13, counted from 1.
    const SIGPIPE: u64 = 1 << 12;
    let masks = status.lines().filter_map(|line| {
        let mask = line
            .strip_prefix("SigIgn:")
            .or(line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    masks.fold(0, |all, mask| all | mask) & SIGPIPE != 0
}

impl Pool {
    fn lend(&mut self) -> Option<Box<Ends>> {
        if let Some(ends) = self.idle.pop() {
            return Some(ends);
        }
        if self.refused.is_some_and(|at| at.elapsed() < RETRY) {
            return None;
        }
        let ends = Ends::new().map(Box::new);
        self.refused = ends.is_none().then(Instant::now);
        ends
    }

    fn keep(&mut self, ends: Box<Ends>) {
        if self.idle.len() < MAX_IDLE {
            self.idle.push(ends);
        }
    }
}

impl Ends {
    fn new() -> Option<Self> {
        let live = Live::new()?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let mut granted = SIZES
            .into_iter()
            .filter_map(|size| fcntl_setpipe_size(&write, size).ok());
        // Past its limits, a user gets pipes of one or two pages.
        let size = granted.next().or_else(|| fcntl_getpipe_size(&write).ok())?;
        let size = u32::try_from(size).ok()?;
        (size >= MIN_SIZE).then_some(Self {
            read,
            write,
            size,
            filled: 0,
            _live: live,
        })
    }
}

impl Live {
    fn new() -> Option<Self> {
        let counted = Self;
        (LIVE.fetch_add(1, Ordering::Relaxed) < MAX_LIVE).then_some(counted)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    const MANY: usize = usize::MAX;

    fn idle() -> usize {
        POOL.with(|pool| pool.borrow().idle.len())
    }

    #[test]
    fn an_empty_pipe_goes_back_to_the_pool() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let mut pipe = Pipe::lend().unwrap();
        a.write_all(b"bytes").unwrap();
        assert_eq!(pipe.fill(&b, MANY).unwrap(), Some(5));
        assert!(!pipe.is_empty());
        assert_eq!(pipe.drain(&b).unwrap(), Some(5));
        assert!(pipe.is_empty());
        a.read_exact(&mut [0; 5]).unwrap();
        drop(pipe);
        assert_eq!(idle(), 1);
        let _again = Pipe::lend().unwrap();
        assert_eq!(idle(), 0);
    }

    #[test]
    fn a_pipe_that_holds_bytes_is_closed() {
        let (mut a, b) = UnixStream::pair().unwrap();
        for taken in [false, true] {
            let mut pipe = Pipe::lend().unwrap();
            a.write_all(b"of one session").unwrap();
            assert_eq!(pipe.fill(&b, MANY).unwrap(), Some(14));
            if taken {
                // A part of it is.
                let ends = pipe.0.as_mut().unwrap();
                ends.filled -= shift(&ends.read, &b, 3).unwrap();
            }
            drop(pipe);
            assert_eq!(idle(), 0);
        }
    }

    #[test]
    fn a_source_without_bytes_and_one_at_its_end_differ() {
        let (a, b) = UnixStream::pair().unwrap();
        b.set_nonblocking(true).unwrap();
        let mut pipe = Pipe::lend().unwrap();
        assert_eq!(pipe.fill(&b, MANY).unwrap(), None);
        drop(a);
        assert_eq!(pipe.fill(&b, MANY).unwrap(), Some(0));
    }

    #[test]
    fn a_pipe_takes_no_more_than_it_is_told_to() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let mut pipe = Pipe::lend().unwrap();
        a.write_all(b"bytes").unwrap();
        assert_eq!(pipe.fill(&b, 3).unwrap(), Some(3));
        assert_eq!(pipe.drain(&b).unwrap(), Some(3));
        assert_eq!(pipe.fill(&b, 3).unwrap(), Some(2));
    }

    #[test]
    fn what_is_taken_out_is_what_went_in() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let mut pipe = Pipe::lend().unwrap();
        a.write_all(b"by").unwrap();
        assert_eq!(pipe.fill(&b, MANY).unwrap(), Some(2));
        a.write_all(b"tes").unwrap();
        assert_eq!(pipe.fill(&b, MANY).unwrap(), Some(3));
        assert_eq!(&*pipe.take().unwrap(), b"bytes");
        assert!(pipe.is_empty());
    }

    #[test]
    fn a_thread_keeps_a_few_pipes() {
        let pipes: Vec<_> = (0..=MAX_IDLE).map_while(|_| Pipe::lend()).collect();
        assert_eq!(pipes.len(), MAX_IDLE + 1);
        drop(pipes);
        assert_eq!(idle(), MAX_IDLE);
    }

    #[test]
    fn after_a_refusal_a_thread_does_not_ask_for_a_while() {
        POOL.with(|pool| pool.borrow_mut().refused = Some(Instant::now()));
        assert!(Pipe::lend().is_none());
        let long_ago = Instant::now().checked_sub(RETRY);
        POOL.with(|pool| pool.borrow_mut().refused = long_ago);
        assert!(Pipe::lend().is_some());
    }

    #[test]
    fn sigpipe_is_survived_if_it_is_ignored_or_caught() {
        let status = |ignored: &str, caught: &str| {
            format!(
                "Name:\tproxy\nSigBlk:\tffffffffffffffff\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n"
            )
        };
        let (none, pipe) = ("0000000000000000", "0000000000001000");
        assert!(handles_sigpipe(&status(pipe, none)));
        assert!(handles_sigpipe(&status(none, pipe)));
        assert!(!handles_sigpipe(&status(
            "0000000000000800",
            "0000000180000000"
        )));
        assert!(!handles_sigpipe(""));
        // This one is a Rust program.
        assert!(sigpipe_is_survived());
    }
}
