//! Bytes that a transfer cannot damage unnoticed.
//!
//! They are the same in every run, and repeat with a period that is prime: a
//! buffer lost, doubled or out of place is found.

use std::iter;

/// Prime, and so no multiple of any buffer's length.
const PERIOD: usize = 65_521;

/// `len` bytes, made as they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    len: usize,
}

impl Content {
    /// `len` bytes.
    #[must_use]
    pub const fn new(len: usize) -> Self {
        Self { len }
    }

    /// `mib` times 1,048,576 bytes.
    #[must_use]
    pub const fn mib(mib: usize) -> Self {
        Self::new(mib << 20)
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes, period by period.
    pub fn chunks(self) -> impl Iterator<Item = Vec<u8>> + Send {
        let period = period();
        (0..self.len)
            .step_by(PERIOD)
            .map(move |start| period[..PERIOD.min(self.len - start)].to_vec())
    }

    /// The bytes in one piece.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.chunks().flatten().collect()
    }

    /// Checks that `received` is these bytes, all and no more.
    pub fn assert_is(self, received: &[u8]) {
        // Not by `assert_eq!`, which would print them.
        for (index, (chunk, expected)) in received.chunks(PERIOD).zip(self.chunks()).enumerate() {
            let len = chunk.len().min(expected.len());
            if chunk[..len] != expected[..len] {
                let within = iter::zip(chunk, &expected).position(|(a, b)| a != b);
                let at = index * PERIOD + within.unwrap_or(len);
                panic!("byte {at} of {} is wrong", self.len);
            }
        }
        assert_eq!(received.len(), self.len, "bytes");
    }
}

/// Bytes of a small xorshift generator, so that none looks like its neighbours.
fn period() -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    })
    .take(PERIOD)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content = Content::new(3 * PERIOD + 17);

    #[test]
    fn the_bytes_are_what_they_are() {
        let bytes = CONTENT.bytes();
        assert_eq!(bytes[..PERIOD], bytes[PERIOD..2 * PERIOD]);
        CONTENT.assert_is(&bytes);
        Content::new(0).assert_is(b"");
    }

    #[test]
    #[should_panic(expected = "byte 65536 of 196580 is wrong")]
    fn a_buffer_out_of_place_is_found() {
        let bytes = CONTENT.bytes();
        let swapped = [&bytes[..65_536], &bytes[131_072..], &bytes[65_536..131_072]];
        CONTENT.assert_is(&swapped.concat());
    }

    #[test]
    #[should_panic(expected = "byte 131071 of 196580 is wrong")]
    fn a_flipped_bit_is_found() {
        let mut bytes = CONTENT.bytes();
        bytes[131_071] ^= 1;
        CONTENT.assert_is(&bytes);
    }

    #[test]
    #[should_panic(expected = "bytes")]
    fn a_missing_end_is_found() {
        CONTENT.assert_is(&CONTENT.bytes()[..2 * PERIOD]);
    }

    #[test]
    #[should_panic(expected = "bytes")]
    fn bytes_that_do_not_belong_are_found() {
        CONTENT.assert_is(&[CONTENT.bytes(), vec![0]].concat());
    }
}
