//! The head of a request, read strictly.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use httparse::{EMPTY_HEADER, Status as Parsed};
use socks_core::{Credentials, Decoded, ParseTargetError, Target};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::words::Status;
use crate::session::Protocol;

/// The longest head, in bytes. Tokens of Kerberos and NTLM take 12 KiB and more:
/// a ticket lists the groups of its user.
pub(in crate::stages) const MAX_LEN: usize = 64 * 1024;

/// As long as a head may be without a [`Room`], in bytes: four times what
/// browsers send.
pub(in crate::stages) const SHORT_LEN: usize = 8 * 1024;

/// Heads that are longer than [`SHORT_LEN`], at a time.
const MAX_LONG: usize = 256;

/// The most fields of a head.
const MAX_FIELDS: usize = 64;

/// Room for long heads, shared by all connections of a layer. Strangers send
/// them: without a bound, they would choose how much memory is theirs.
#[derive(Clone, Debug)]
pub(in crate::stages) struct Room(Arc<Semaphore>);

#[cfg(feature = "http-forward")]
impl Room {
    /// A place for a long head, if there is one.
    pub(in crate::stages) fn place(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LONG)))
    }
}

/// What a CONNECT says.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) target: Target,
    pub(super) protocol: Protocol,
    /// None if there are none that could be right: another scheme, no Base64.
    pub(super) credentials: Option<Credentials>,
}

/// Why a head is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    #[error("the first byte, {0:#04x}, begins no HTTP")]
    NotHttp(u8),
    #[error("the head is longer than {MAX_LEN} bytes")]
    TooLong,
    #[error("the head is longer than {SHORT_LEN} bytes, and too many such are being read")]
    NoRoom,
    #[error("the head is malformed")]
    Malformed(#[source] httparse::Error),
    #[error("a line of the head does not end in CR LF")]
    BareLf,
    #[error("the method is not CONNECT")]
    Method,
    #[error("CONNECT does not name a target")]
    Target(#[source] ParseTargetError),
    #[error("CONNECT has no body")]
    Body,
    #[error("there is more than one Proxy-Authorization")]
    TwoAuthorizations,
}

impl HeadError {
    /// What the client hears.
    pub(super) fn answer(&self) -> Vec<u8> {
        let (status, field) = match self {
            Self::TooLong | Self::Malformed(httparse::Error::TooManyHeaders) => {
                (Status::HEADER_FIELDS_TOO_LARGE, "")
            }
            Self::NoRoom => (Status::SERVICE_UNAVAILABLE, ""),
            Self::Malformed(httparse::Error::Version) => (Status::VERSION_NOT_SUPPORTED, ""),
            Self::Method => (Status::METHOD_NOT_ALLOWED, "Allow: CONNECT\r\n"),
            Self::NotHttp(_)
            | Self::Malformed(_)
            | Self::BareLf
            | Self::Target(_)
            | Self::Body
            | Self::TwoAuthorizations => (Status::BAD_REQUEST, ""),
        };
        let text = match self {
            Self::Method => {
                "This proxy serves CONNECT and SOCKS alone. It does not fetch http:// URLs.".into()
            }
            other => format!("{other}."),
        };
        status.answer(field, &text)
    }
}

/// Whether a client that begins so speaks HTTP: all methods are upper-case.
pub(in crate::stages) fn is_http(first: u8) -> bool {
    first.is_ascii_uppercase()
}

/// Reads a head that arrives in pieces.
#[derive(Debug)]
pub(super) struct HeadReader<'a> {
    /// How much of the input has been looked at, in vain.
    seen: usize,
    room: &'a Room,
    /// Ours, of `room`.
    place: Option<SemaphorePermit<'a>>,
}

impl<'a> HeadReader<'a> {
    /// Reads a head, with a place in `room` if it is long.
    pub(super) fn new(room: &'a Room) -> Self {
        Self {
            seen: 0,
            room,
            place: None,
        }
    }

    /// Whether the head was long.
    pub(super) fn was_long(&self) -> bool {
        self.place.is_some()
    }

    /// Reads a head from the front of `input`, which only grows from call to
    /// call.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<Decoded<Head>, HeadError> {
        if let Some(&first) = input.first().filter(|&&first| !is_http(first)) {
            return Err(HeadError::NotHttp(first));
        }
        let news = input.get(self.seen..).unwrap_or_default();
        self.seen = input.len();
        // Only the end of a line can tell anything new. A head that comes byte
        // by byte is so parsed once per line.
        if news.contains(&b'\n') {
            let mut fields = [EMPTY_HEADER; MAX_FIELDS];
            let mut request = httparse::Request::new(&mut fields);
            match request.parse(input).map_err(HeadError::Malformed)? {
                Parsed::Complete(len) if len <= MAX_LEN => {
                    let head = input.get(..len).unwrap_or_default();
                    return Ok(Decoded::Complete {
                        message: head_of(&request, head)?,
                        consumed: len,
                    });
                }
                Parsed::Complete(_) => return Err(HeadError::TooLong),
                // Browsers need not be waited for.
                Parsed::Partial if request.version.is_some() => is_connect(&request)?,
                Parsed::Partial => {}
            }
        }
        if input.len() >= MAX_LEN {
            return Err(HeadError::TooLong);
        }
        if input.len() >= SHORT_LEN && self.place.is_none() {
            let place = self.room.0.try_acquire();
            self.place = Some(place.map_err(|_full| HeadError::NoRoom)?);
        }
        Ok(Decoded::Incomplete { needed: 1 })
    }
}

fn head_of(request: &httparse::Request<'_, '_>, head: &[u8]) -> Result<Head, HeadError> {
    let mut before = b' ';
    for &byte in head {
        // httparse lets a line end in LF alone. Whoever stands in front may
        // not, and see another end of the head.
        if byte == b'\n' && before != b'\r' {
            return Err(HeadError::BareLf);
        }
        before = byte;
    }
    is_connect(request)?;
    let target = request.path.unwrap_or_default();
    let target = target.parse().map_err(HeadError::Target)?;
    let mut authorization = None;
    for field in &*request.headers {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        // Old clients of Windows do send `Content-Length: 0`.
        let has_body = is("transfer-encoding") || is("content-length") && field.value != b"0";
        if has_body {
            return Err(HeadError::Body);
        }
        if is("proxy-authorization") && authorization.replace(field.value).is_some() {
            return Err(HeadError::TwoAuthorizations);
        }
    }
    Ok(Head {
        target,
        protocol: match request.version {
            Some(0) => Protocol::Http10,
            _ => Protocol::Http11,
        },
        credentials: authorization.and_then(basic),
    })
}

fn is_connect(request: &httparse::Request<'_, '_>) -> Result<(), HeadError> {
    match request.method {
        Some("CONNECT") => Ok(()),
        _ => Err(HeadError::Method),
    }
}

/// Credentials of the scheme Basic (RFC 7617 section 2).
pub(in crate::stages) fn basic(authorization: &[u8]) -> Option<Credentials> {
    let authorization = str::from_utf8(authorization).ok()?;
    let (scheme, token) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Base64::decode_vec(token.trim_matches(' ')).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let (username, password) = decoded.split_at(colon);
    Credentials::new(username, password.strip_prefix(b":")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Result<Decoded<Head>, HeadError> {
        HeadReader::new(&Room::default()).read(input)
    }

    fn whole(input: &[u8]) -> Head {
        match read(input) {
            Ok(Decoded::Complete { message, consumed }) => {
                assert_eq!(consumed, input.len());
                message
            }
            other => panic!("{other:?}"),
        }
    }

    fn status(input: &str) -> String {
        let answer = read(input.as_bytes()).unwrap_err().answer();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{answer}"
        );
        answer[9..12].to_owned()
    }

    #[test]
    fn a_head_says_its_target() {
        for (line, target) in [
            ("example.com:443", "example.com:443"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("0x7f.1:80", "127.0.0.1:80"),
        ] {
            let head = whole(format!("CONNECT {line} HTTP/1.1\r\n\r\n").as_bytes());
            assert_eq!(head.target.to_string(), target);
            assert_eq!(head.protocol, Protocol::Http11);
            assert!(head.credentials.is_none());
        }
        assert_eq!(
            whole(b"CONNECT a:1 HTTP/1.0\r\nHost: b\r\n\r\n").protocol,
            Protocol::Http10
        );
    }

    #[test]
    fn a_head_may_come_byte_by_byte_and_be_followed() {
        let input = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n\nfrom the client";
        let end = input.len() - b"\nfrom the client".len();
        let room = Room::default();
        let mut reader = HeadReader::new(&room);
        for len in 1..end {
            assert!(matches!(
                reader.read(&input[..len]),
                Ok(Decoded::Incomplete { needed: 1 })
            ));
        }
        for len in [end, input.len()] {
            assert!(matches!(
                read(&input[..len]),
                Ok(Decoded::Complete { consumed, .. }) if consumed == end
            ));
        }
    }

    #[test]
    fn a_head_with_two_readings_is_refused() {
        for fields in [
            "Transfer-Encoding: chunked\r\n",
            "content-length: 4\r\n",
            "Content-Length: 00\r\n",
            "Content-Length: 0, 0\r\n",
            "Proxy-Authorization: Basic YTpi\r\nproxy-authorization: Basic YTpj\r\n",
            "Host : a\r\n",
            "Host: a\r\n folded\r\n",
            "Host: a\n",
            "Host: a\0b\r\n",
            "no colon\r\n",
        ] {
            let head = format!("CONNECT a:1 HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(status(&head), "400", "{head:?}");
        }
        assert_eq!(status("CONNECT a:1 HTTP/1.1\n\n"), "400");
        whole(b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn what_names_no_target_is_refused() {
        for target in [
            "a",
            "/",
            "*",
            "http://a/",
            "http://a:80",
            "a:",
            ":80",
            "a:+80",
            "a:65536",
            "u@a:80",
            "::1:80",
            "a:80/",
        ] {
            assert_eq!(
                status(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")),
                "400",
                "{target}"
            );
        }
    }

    #[test]
    fn the_first_line_is_enough_to_refuse() {
        assert_eq!(status("PRI * HTTP/2.0\r\n"), "505");
        assert_eq!(status("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), "505");
        assert_eq!(status("GET / HTTP/1.1\r\n"), "405");
        assert_eq!(status("\x05\x01\x00"), "400");
    }

    #[test]
    fn other_methods_are_told_what_is_served() {
        for line in ["GET http://a/", "OPTIONS *", "POST /", "CONNECTS a:1"] {
            let error = read(format!("{line} HTTP/1.1\r\n\r\n").as_bytes()).unwrap_err();
            let answer = String::from_utf8(error.answer()).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\n"),
                "{answer}"
            );
        }
    }

    #[test]
    fn a_head_is_capped_in_bytes_and_fields() {
        let line = "CONNECT a:1 HTTP/1.1\r\n";
        let padded = |len: usize| {
            let rest = len - line.len() - "A: \r\n\r\n".len();
            format!("{line}A: {}\r\n\r\n", "b".repeat(rest))
        };
        whole(padded(MAX_LEN).as_bytes());
        assert_eq!(status(&padded(MAX_LEN + 1)), "431");
        assert_eq!(status(&"A".repeat(MAX_LEN)), "431");

        let fields = |count| format!("{line}{}\r\n", "A: b\r\n".repeat(count));
        whole(fields(MAX_FIELDS).as_bytes());
        assert_eq!(status(&fields(MAX_FIELDS + 1)), "431");
    }

    #[test]
    fn long_heads_are_bounded_together() {
        let long = [
            b"CONNECT a:1 HTTP/1.1\r\nA: ".as_slice(),
            &[b'b'; SHORT_LEN],
        ]
        .concat();
        let room = Room::default();
        let waits = |reader: &mut HeadReader<'_>, input: &[u8]| {
            matches!(reader.read(input), Ok(Decoded::Incomplete { .. }))
        };
        let mut readers: Vec<_> = (0..MAX_LONG).map(|_| HeadReader::new(&room)).collect();
        for reader in &mut readers {
            assert!(waits(reader, &long[..SHORT_LEN - 1]) && !reader.was_long());
            assert!(waits(reader, &long) && reader.was_long());
        }

        let mut one_more = HeadReader::new(&room);
        assert!(waits(&mut one_more, &long[..SHORT_LEN - 1]));
        let error = one_more.read(&long).unwrap_err();
        assert!(matches!(error, HeadError::NoRoom));
        let answer = String::from_utf8(error.answer()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");

        drop(readers.pop());
        assert!(waits(&mut HeadReader::new(&room), &long));
    }

    #[test]
    fn basic_credentials_are_read_to_the_first_colon() {
        let credentials = |value: &str| {
            let head = format!("CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: {value}\r\n\r\n");
            whole(head.as_bytes()).credentials
        };
        for value in ["Basic am9lOnNlOmNyZXQ=", "bAsIc  am9lOnNlOmNyZXQ= "] {
            assert_eq!(
                credentials(value),
                Credentials::new("joe", "se:cret").ok(),
                "{value}"
            );
        }
        assert_eq!(credentials("Basic Og=="), Credentials::new("", "").ok());
        for value in [
            "Basic",
            "Basic ",
            "Basic am9l",
            "Basic am9lOnNlOmNyZXQ",
            "Basic am9lOnN*",
            "Bearer am9lOnNlOmNyZXQ=",
            "am9lOnNlOmNyZXQ=",
        ] {
            assert_eq!(credentials(value), None, "{value}");
        }
        let long = Base64::encode_string(&[[b'a'; 256].as_slice(), b":b"].concat());
        assert_eq!(credentials(&format!("Basic {long}")), None);
    }
}
