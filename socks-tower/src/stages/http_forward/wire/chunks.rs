//! The framing of a chunked body (RFC 9112 section 7.1), read strictly.

use super::Wrong;

/// The longest line that says a size, with its extensions, in bytes. Nobody sends
/// any.
const MAX_LINE: usize = 256;

/// The longest trailer section, in bytes.
const MAX_TRAILERS: usize = 8 * 1024;

/// The most digits of a size: what is longer does not fit 64 bits.
const MAX_DIGITS: usize = 16;

/// How far a chunked body has come.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Of the chunk that is being read.
    size: u64,
    /// Of the line, or of the trailers.
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// A line of the trailers begins, or the empty one that ends them.
    Trailer,
    Name,
    Value,
    ValueLf,
    EndLf,
    End,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            at: At::Size,
            size: 0,
            len: 0,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == At::End
    }

    /// How many bytes at the front of `input` belong to the body: all of them, unless
    /// it ends before.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<usize, Wrong> {
        let mut read = 0;
        while let Some(&byte) = input.get(read).filter(|_| !self.is_over()) {
            if self.at == At::Data {
                let left = input.len() - read;
                let taken = usize::try_from(self.size).map_or(left, |size| size.min(left));
                self.size -= taken as u64;
                read += taken;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.at = self.step(byte).ok_or(Wrong::Chunk)?;
            read += 1;
        }
        Ok(read)
    }

    /// Where a byte leads that is no data; none if it may not stand there.
    fn step(&mut self, byte: u8) -> Option<At> {
        self.len += 1;
        let most = match self.at {
            At::Size | At::Extension | At::SizeLf => MAX_LINE,
            _ => MAX_TRAILERS,
        };
        if self.len > most {
            return None;
        }
        match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.len <= MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16)?;
                self.size = self.size << 4 | u64::from(digit);
                Some(At::Size)
            }
            (At::Size, b';') if self.len > 1 => Some(At::Extension),
            (At::Size, b'\r') if self.len > 1 => Some(At::SizeLf),
            (At::Extension, b' '..=b'~') => Some(At::Extension),
            (At::Extension, b'\r') => Some(At::SizeLf),
            (At::SizeLf, b'\n') => {
                self.len = 0;
                Some(if self.size > 0 { At::Data } else { At::Trailer })
            }
            (At::DataCr, b'\r') => Some(At::DataLf),
            (At::DataLf, b'\n') => {
                self.len = 0;
                Some(At::Size)
            }
            (At::Trailer, b'\r') => Some(At::EndLf),
            (At::Trailer | At::Name, byte) if is_token(byte) => Some(At::Name),
            (At::Name, b':') => Some(At::Value),
            (At::Value, b'\t' | b' '..=b'~' | 0x80..) => Some(At::Value),
            (At::Value, b'\r') => Some(At::ValueLf),
            (At::ValueLf, b'\n') => Some(At::Trailer),
            (At::EndLf, b'\n') => Some(At::End),
            _ => None,
        }
    }
}

/// A byte of a field's name (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of `input` is body, read in pieces of every length.
    fn read(input: &[u8]) -> Result<Option<usize>, Wrong> {
        let mut all = None;
        for piece in 1..=input.len() {
            let mut chunks = Chunks::new();
            let mut len = 0;
            for bytes in input.chunks(piece) {
                match chunks.read(bytes) {
                    Ok(read) => len += read,
                    Err(wrong) => return Err(wrong),
                }
            }
            let body = chunks.is_over().then_some(len);
            assert_eq!(*all.get_or_insert(body), body, "{piece}");
        }
        Ok(all.flatten())
    }

    #[test]
    fn a_body_is_read_to_its_end_and_no_further() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "0003\r\nabc\r\n000\r\n\r\n",
            "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "3;name=value;\"q\"\r\n\r\n\r\r\n0;x\r\n\r\n",
            "0\r\nA: b\r\nC:\t d \u{ff}\r\n\r\n",
        ] {
            let input = [body.as_bytes(), b"GET"].concat();
            assert_eq!(read(&input).unwrap(), Some(body.len()), "{body:?}");
        }
    }

    #[test]
    fn a_body_that_does_not_end_is_not_over() {
        for body in ["", "3", "3\r\nab", "3\r\nabc\r\n", "0\r\n", "0\r\nA: b\r\n"] {
            assert_eq!(read(body.as_bytes()).unwrap(), None, "{body:?}");
        }
    }

    #[test]
    fn a_chunk_with_two_readings_is_refused() {
        let long = format!("3;{}\r\nabc\r\n", "x".repeat(MAX_LINE));
        let trailers = format!("0\r\nA: {}\r\n\r\n", "x".repeat(MAX_TRAILERS));
        for body in [
            "\r\n",
            ";x\r\n",
            "+3\r\nabc\r\n",
            "-1\r\n",
            "0x3\r\nabc\r\n",
            " 3\r\nabc\r\n",
            "3 \r\nabc\r\n",
            "3 ;x\r\nabc\r\n",
            "3\t\r\nabc\r\n",
            "3\x0b\r\nabc\r\n",
            "3\x0c\r\nabc\r\n",
            "3\nabc\r\n",
            "3\rabc\r\n",
            "3;x\nabc\r\n",
            "3;\0\r\nabc\r\n",
            "3;\rx\r\nabc\r\n",
            "3\r\nabcd",
            "3\r\nabc\n",
            "3\r\nabc0\r\n",
            "g\r\n",
            "10000000000000003\r\nabc\r\n",
            "00000000000000003\r\nabc\r\n",
            "0\r\n\n",
            "0\r\n A: b\r\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\nA\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\nA: \0\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            &long,
            &trailers,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body:?}");
        }
    }
}
