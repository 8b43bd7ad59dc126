//! What a client says first.

mod http;
mod tls;

use socks_core::{DomainName, Host};

/// What a client says first: whom it asks for, by TLS or by HTTP.
///
/// Nothing backs what a client says; see the [module's
/// page](crate::middleware::tap#what-to-expect-of-it).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Opening {
    /// A ClientHello of TLS (RFC 8446 section 4.1.2), whole or not.
    #[non_exhaustive]
    Tls {
        /// The name of the server that it wants (RFC 6066 section 3); none if it
        /// says none, or what is no name.
        server_name: Option<DomainName>,
    },
    /// A request of HTTP/1 (RFC 9112 section 3).
    #[non_exhaustive]
    Http {
        /// Where it goes, without the port: by its target if that names a host, else
        /// by its Host field; none if there is none, or what is no host.
        host: Option<Host>,
    },
    /// Anything else, and what is not said within [`MOST`](Self::MOST) bytes.
    Other,
}

/// Why there is nothing to be said.
enum Stop {
    /// Not yet.
    More,
    /// It is something else.
    Other,
}

impl Opening {
    /// How many bytes are looked at, at most: 16 KiB.
    pub const MOST: usize = 16 * 1024;

    /// Reads the first `bytes` of a client. `None` if what follows decides; what
    /// has been decided stays, whatever follows.
    ///
    /// A ClientHello is read no further than to its server name, and may come in
    /// any number of records. Where HTTP/1 lets a lenient server guess (a folded
    /// line, a space before the colon), this is [`Opening::Other`].
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let seen = bytes.get(..Self::MOST).unwrap_or(bytes);
        let read = match tls::server_name(seen) {
            Ok(server_name) => Ok(Self::Tls { server_name }),
            Err(Stop::Other) => http::host(seen).map(|host| Self::Http { host }),
            Err(Stop::More) => Err(Stop::More),
        };
        match read {
            Ok(opening) => Some(opening),
            Err(Stop::More) if seen.len() < Self::MOST => None,
            Err(_) => Some(Self::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What is said of each beginning: nothing, and from some point on the same.
    fn at_every_split(bytes: &[u8]) -> Option<(usize, Opening)> {
        let mut decided = None;
        for len in 0..=bytes.len() {
            let opening = Opening::of(&bytes[..len]);
            match (&decided, opening) {
                (None, None) => {}
                (None, Some(opening)) => decided = Some((len, opening)),
                (Some((_, said)), opening) => assert_eq!(opening.as_ref(), Some(said)),
            }
        }
        decided
    }

    pub(super) fn of(bytes: &[u8]) -> Option<Opening> {
        at_every_split(bytes).map(|(_, opening)| opening)
    }

    #[test]
    fn nothing_is_not_yet_anything() {
        assert_eq!(Opening::of(b""), None);
    }

    #[test]
    fn what_is_neither_is_told_as_soon_as_it_shows() {
        for (bytes, at) in [
            (b"SSH-2.0-OpenSSH_9.6\r\n" as &[u8], 20),
            (b"\x05\x01\x00", 1),
            (b"\x16\x02\x01", 2),
            (b"PRI * HTTP/2.0\r\n\r\n", 16),
        ] {
            let decided = at_every_split(bytes);
            assert_eq!(
                decided,
                Some((at, Opening::Other)),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn what_says_nothing_for_too_long_is_something_else() {
        let long = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'x'; Opening::MOST]].concat();
        assert_eq!(Opening::of(&long[..Opening::MOST - 1]), None);
        assert_eq!(Opening::of(&long), Some(Opening::Other));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_it_never_changes_its_mind(
            start in prop_oneof![
                Just(b"".to_vec()),
                Just(b"GET / HTTP/1.1\r\n".to_vec()),
                Just(b"\x16\x03\x01\x00\x50\x01\x00\x00\x4c\x03\x03".to_vec()),
                Just(tls::tests::hello("a.example").to_vec()),
            ],
            rest in vec(any::<u8>(), 0..120),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = start;
            bytes.truncate(cut.index(bytes.len() + 1));
            bytes.extend(rest);
            at_every_split(&bytes);
        }

        #[test]
        fn a_byte_that_is_changed_makes_no_hello_panic(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = tls::tests::hello("a.example");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            at_every_split(&bytes);
        }
    }
}
