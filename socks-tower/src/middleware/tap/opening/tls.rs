//! The server name in a ClientHello, whose bytes may lie in several records.

use socks_core::DomainName;

use super::Stop;

/// RFC 8446 section 5.1.
const HANDSHAKE: u8 = 22;

/// No record of plain text is longer (RFC 8446 section 5.1).
const LONGEST_RECORD: usize = 1 << 14;

/// RFC 8446 section 4.
const CLIENT_HELLO: u8 = 1;

/// The extension, and the kind of name in it (RFC 6066 section 3).
const SERVER_NAME: usize = 0;
const HOST_NAME: u8 = 0;

/// The name that the hello at the front of `bytes` has in it.
pub(super) fn server_name(bytes: &[u8]) -> Result<Option<DomainName>, Stop> {
    let mut hello = Hello {
        bytes,
        in_record: 0,
        left: 4,
    };
    if hello.byte()? != CLIENT_HELLO {
        return Err(Stop::Other);
    }
    hello.left = hello.number(3)?;
    // Its version, and random.
    hello.skip(2 + 32)?;
    let session_id = hello.number(1)?;
    hello.skip(session_id)?;
    let suites = hello.number(2)?;
    hello.skip(suites)?;
    let compressions = hello.number(1)?;
    hello.skip(compressions)?;
    if hello.left == 0 {
        return Ok(None);
    }
    if hello.number(2)? != hello.left {
        return Err(Stop::Other);
    }
    while hello.left > 0 {
        let (extension, len) = (hello.number(2)?, hello.number(2)?);
        if extension != SERVER_NAME {
            hello.skip(len)?;
            continue;
        }
        // A list, of which servers read the first.
        let (list, kind, name) = (hello.number(2)?, hello.byte()?, hello.number(2)?);
        if len != list + 2 || list < name + 3 || kind != HOST_NAME {
            return Err(Stop::Other);
        }
        let name: Vec<u8> = (0..name).map(|_| hello.byte()).collect::<Result<_, _>>()?;
        return Ok(DomainName::from_bytes(&name).ok());
    }
    Ok(None)
}

/// What is left of a hello.
struct Hello<'a> {
    bytes: &'a [u8],
    /// How many of `bytes` are the current record's.
    in_record: usize,
    /// How many bytes are its own.
    left: usize,
}

impl Hello<'_> {
    fn byte(&mut self) -> Result<u8, Stop> {
        self.left = self.left.checked_sub(1).ok_or(Stop::Other)?;
        if self.in_record == 0 {
            self.begin_record()?;
        }
        self.in_record -= 1;
        self.raw()
    }

    fn raw(&mut self) -> Result<u8, Stop> {
        let (&byte, rest) = self.bytes.split_first().ok_or(Stop::More)?;
        self.bytes = rest;
        Ok(byte)
    }

    fn begin_record(&mut self) -> Result<(), Stop> {
        // Of the version, the second byte tells nothing.
        if self.raw()? != HANDSHAKE || self.raw()? != 3 {
            return Err(Stop::Other);
        }
        self.raw()?;
        self.in_record = usize::from(u16::from_be_bytes([self.raw()?, self.raw()?]));
        match self.in_record {
            1..=LONGEST_RECORD => Ok(()),
            _ => Err(Stop::Other),
        }
    }

    /// A number of so many bytes.
    fn number(&mut self, bytes: usize) -> Result<usize, Stop> {
        (0..bytes).try_fold(0, |number, _| Ok(number << 8 | usize::from(self.byte()?)))
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Stop> {
        if bytes > self.left {
            return Err(Stop::Other);
        }
        (0..bytes).try_for_each(|_| self.byte().map(drop))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Opening, tests::of};

    /// A list of bytes behind its length, which takes `width` bytes.
    fn sized(width: usize, bytes: &[u8]) -> Vec<u8> {
        let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&len[4 - width..], bytes].concat()
    }

    fn extension(number: u8, content: &[u8]) -> Vec<u8> {
        [vec![0, number], sized(2, content)].concat()
    }

    fn server_name(name: &str) -> Vec<u8> {
        let entry = [vec![0], sized(2, name.as_bytes())].concat();
        extension(0, &sized(2, &entry))
    }

    /// The message, with these extensions.
    fn message(extensions: &[u8]) -> Vec<u8> {
        let mut body = b"\x03\x03".to_vec();
        body.extend([7; 32]);
        body.extend(sized(1, &[9; 32]));
        body.extend(sized(2, b"\x13\x01\x13\x02"));
        body.extend(sized(1, b"\x00"));
        body.extend(sized(2, extensions));
        [vec![1], sized(3, &body)].concat()
    }

    /// In records of `len` bytes.
    fn records(message: &[u8], len: usize) -> Vec<u8> {
        let records = message.chunks(len);
        let record = |bytes| [b"\x16\x03\x01".to_vec(), sized(2, bytes)].concat();
        records.flat_map(record).collect()
    }

    /// One that asks for `name`, among other things.
    pub(in super::super) fn hello(name: &str) -> Vec<u8> {
        let extensions = [
            extension(43, b"\x02\x03\x04"),
            server_name(name),
            extension(51, &[1; 80]),
        ];
        records(&message(&extensions.concat()), 1 << 14)
    }

    fn tls(name: Option<&str>) -> Option<Opening> {
        let server_name = name.map(|name| name.parse().unwrap());
        Some(Opening::Tls { server_name })
    }

    #[test]
    fn the_name_is_found_among_others_things_wherever_the_bytes_are_split() {
        assert_eq!(of(&hello("Mail.Example")), tls(Some("Mail.Example")));
    }

    #[test]
    fn the_name_is_found_wherever_the_records_are_split() {
        let hello = message(&server_name("mail.example"));
        for len in 1..hello.len() {
            assert_eq!(of(&records(&hello, len)), tls(Some("mail.example")));
        }
    }

    #[test]
    fn a_hello_without_a_name_or_with_what_is_none_has_none() {
        let without = message(&extension(43, b"\x02\x03\x04"));
        assert_eq!(of(&records(&without, 99)), tls(None));
        assert_eq!(of(&hello("192.0.2.1")), tls(None));
        assert_eq!(of(&hello("two words")), tls(None));
        assert_eq!(of(&hello("")), tls(None));
        let mut old = message(b"");
        old.truncate(old.len() - 2);
        old[3] -= 2;
        assert_eq!(of(&records(&old, 99)), tls(None));
    }

    #[test]
    fn a_name_that_comes_too_late_is_not_waited_for() {
        let padding = extension(21, &[0; Opening::MOST]);
        let hello = records(
            &message(&[padding, server_name("a.example")].concat()),
            1 << 14,
        );
        assert_eq!(Opening::of(&hello[..Opening::MOST - 1]), None);
        assert_eq!(Opening::of(&hello), Some(Opening::Other));
    }

    #[test]
    fn what_is_no_hello_or_contradicts_itself_is_something_else() {
        let good = message(&server_name("a.example"));
        let change = |at: usize, byte| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            of(&records(&bytes, 999))
        };
        let other = Some(Opening::Other);
        assert_eq!(change(0, 2), other, "a ServerHello");
        assert_eq!(change(3, 50), other, "shorter than what is in it");
        assert_eq!(
            change(good.len() - 11, 9),
            other,
            "of a kind that is no name"
        );
        assert_eq!(of(b"\x16\x03\x01\x00\x00"), other, "an empty record");
        assert_eq!(
            of(b"\x16\x03\x01\x40\x01"),
            other,
            "a record that is too long"
        );
        assert_eq!(of(b"\x17\x03\x03\x00\x05hello"), other, "no handshake");
    }
}
