//! Incremental decoding, and the one cursor that all decoders read through.

use alloc::vec::Vec;

use crate::DecodeError;

/// A message that can be read from the front of a byte slice.
pub trait Decode: Sized {
    /// Why bytes are no such message: [`DecodeError`] for all messages of this
    /// crate.
    type Error;

    /// The shortest message of this kind, in bytes.
    const MIN_LEN: usize;

    /// The longest message of this kind, in bytes. Whoever buffers what has
    /// arrived needs no more room than this.
    const MAX_LEN: usize;

    /// Reads one message from the front of `input`.
    ///
    /// The same bytes give the same answer however they are split: feed what
    /// has arrived, and feed it again with more once
    /// [`Incomplete`](Decoded::Incomplete) said so.
    ///
    /// # Errors
    ///
    /// As soon as the bytes seen so far cannot become a valid message, whatever
    /// follows.
    fn decode(input: &[u8]) -> Result<Decoded<Self>, Self::Error>;
}

/// A message that can be written to the end of a buffer.
///
/// The types hold only what fits their wire form, so that this cannot fail.
pub trait Encode {
    /// Appends the message to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The message as bytes of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// What a decoder made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<T> {
    /// A whole message stood at the front of the input.
    Complete {
        /// The message.
        message: T,
        /// How many bytes of the input it took. The rest belongs to whatever
        /// comes next.
        consumed: usize,
    },
    /// The message goes on past the end of the input.
    Incomplete {
        /// At least so many bytes more (never 0) are needed. A reader that
        /// reads exactly so many never reads past the message.
        needed: usize,
    },
}

impl<T> Decoded<T> {
    /// Applies `f` to the message, if it is there.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Decoded<U> {
        match self {
            Self::Complete { message, consumed } => Decoded::Complete {
                message: f(message),
                consumed,
            },
            Self::Incomplete { needed } => Decoded::Incomplete { needed },
        }
    }

    /// Applies `f` to the message, if it is there.
    ///
    /// # Errors
    ///
    /// What `f` says.
    pub fn try_map<U, E>(self, f: impl FnOnce(T) -> Result<U, E>) -> Result<Decoded<U>, E> {
        match self {
            Self::Complete { message, consumed } => Ok(Decoded::Complete {
                message: f(message)?,
                consumed,
            }),
            Self::Incomplete { needed } => Ok(Decoded::Incomplete { needed }),
        }
    }
}

/// Why a read through the [`Reader`] stopped.
pub(crate) enum Stop {
    /// So many bytes are missing, at least.
    Needs(usize),
    /// The bytes are wrong.
    Invalid(DecodeError),
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        Self::Invalid(error)
    }
}

/// Reads forward through a slice, and never past its end.
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Runs a decoder over `input` and says how far it came.
    ///
    /// Nothing shorter than `MIN_LEN` will do, so that much is asked for at
    /// once: a reader that reads just what it is told needs fewer reads.
    pub(crate) fn run<T: Decode>(
        input: &'a [u8],
        decode: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<Decoded<T>, DecodeError> {
        let mut reader = Self { input, at: 0 };
        match decode(&mut reader) {
            Ok(message) => Ok(Decoded::Complete {
                message,
                consumed: reader.at,
            }),
            Err(Stop::Needs(needed)) => Ok(Decoded::Incomplete {
                needed: needed.max(T::MIN_LEN.saturating_sub(input.len())),
            }),
            Err(Stop::Invalid(error)) => Err(error),
        }
    }

    /// Runs `read`, behind which at least `len` bytes more stand in the
    /// message: what `read` lacks, they lack too.
    pub(crate) fn before<T>(
        &mut self,
        len: usize,
        read: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        read(self).map_err(|stop| match stop {
            Stop::Needs(needed) => Stop::Needs(needed + len),
            Stop::Invalid(error) => Stop::Invalid(error),
        })
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let rest = self.rest();
        match rest.get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(Stop::Needs(len - rest.len())),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let rest = self.rest();
        match rest.first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(Stop::Needs(N - rest.len())),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Stop> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_be_bytes)
    }

    /// Bytes behind a one-byte length.
    pub(crate) fn short(&mut self) -> Result<&'a [u8], Stop> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// Bytes up to a NUL, which is taken too: at most `max` bytes before it.
    /// No valid field is shorter than `min`: so many are asked for at once.
    pub(crate) fn until_nul(
        &mut self,
        (min, max): (usize, usize),
        too_long: DecodeError,
    ) -> Result<&'a [u8], Stop> {
        let rest = self.rest();
        let window = rest.get(..=max).unwrap_or(rest);
        match window.iter().position(|&byte| byte == 0) {
            Some(len) => {
                let bytes = self.take(len)?;
                self.u8()?;
                Ok(bytes)
            }
            None if window.len() > max => Err(too_long.into()),
            None => Err(Stop::Needs(min.saturating_sub(window.len()) + 1)),
        }
    }

    /// Bytes that must come next. The first that is another is `wrong`.
    pub(crate) fn expect(&mut self, expected: &[u8], wrong: DecodeError) -> Result<(), Stop> {
        if expected
            .iter()
            .zip(self.rest())
            .any(|(one, other)| one != other)
        {
            return Err(wrong.into());
        }
        self.take(expected.len())?;
        Ok(())
    }

    /// The version byte that must begin this message.
    pub(crate) fn expect_version(&mut self, expected: u8) -> Result<(), Stop> {
        match self.u8()? {
            found if found == expected => Ok(()),
            found => Err(DecodeError::Version { expected, found }.into()),
        }
    }
}
