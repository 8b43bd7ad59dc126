//! The header of a client's datagram, taken apart without making anything of it.

use std::net::SocketAddr;

use socks_core::{
    Decode, Decoded, Encode, Target,
    v5::udp::{Fragment, Header},
};

/// A client's datagram in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) fragment: Fragment,
    /// ATYP, DST.ADDR and DST.PORT as they were sent: what a destination is
    /// known by. Nobody has looked yet whether a name in it is one.
    pub(crate) key: &'a [u8],
    pub(crate) data: &'a [u8],
}

impl<'a> Parts<'a> {
    /// None, if the header is cut short or its address type unknown.
    pub(crate) fn split(datagram: &'a [u8]) -> Option<Self> {
        let (&[_reserved, _also_reserved, fragment], rest) = datagram.split_first_chunk()?;
        let address = match rest {
            [1, ..] => 4,
            [3, len, ..] => 1 + usize::from(*len),
            [4, ..] => 16,
            _ => return None,
        };
        let (key, data) = rest.split_at_checked(1 + address + 2)?;
        Some(Self {
            fragment: Fragment(fragment),
            key,
            data,
        })
    }
}

/// What the bytes of a key mean; none if that is no destination.
pub(crate) fn target(key: &[u8]) -> Option<Target> {
    match Header::decode(&[&[0, 0, 0], key].concat()) {
        Ok(Decoded::Complete { message, .. }) => Some(message.target),
        Ok(Decoded::Incomplete { .. }) | Err(_) => None,
    }
}

/// The header of a datagram to `target`.
pub(crate) fn towards(target: Target) -> Vec<u8> {
    let fragment = Fragment::STANDALONE;
    Header { fragment, target }.to_bytes()
}

/// Whether a key has a name.
pub(crate) fn is_name(key: &[u8]) -> bool {
    key.first() == Some(&3)
}

/// The longest header of an answer, in bytes: that of an IPv6 source.
pub(crate) const MAX_ANSWER: usize = 3 + 1 + 16 + 2;

/// Writes the header of an answer from `source` over what is in `out`.
pub(crate) fn answer(source: SocketAddr, out: &mut Vec<u8>) {
    out.clear();
    let header = Header {
        fragment: Fragment::STANDALONE,
        target: Target::from(source),
    };
    header.encode(out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_datagram_may_be_empty() {
        let datagram = b"\0\0\0\x01\x7f\0\0\x01\0\x35";
        let parts = Parts::split(datagram).unwrap();
        assert_eq!((parts.key, parts.data), (&datagram[3..], &b""[..]));
    }

    proptest! {
        #[test]
        fn it_finds_the_data_where_the_decoder_does(
            kind in prop_oneof![Just(1_u8), Just(3), Just(4), any::<u8>()],
            rest in proptest::collection::vec(b'-'..=b'z', 0..80),
            fragment: u8,
        ) {
            let datagram = [&[0, 0, fragment, kind][..], &rest].concat();
            let parts = Parts::split(&datagram);
            if let Ok(Decoded::Complete { message, consumed }) = Header::decode(&datagram) {
                let parts = parts.unwrap();
                prop_assert_eq!(parts.fragment, message.fragment);
                prop_assert_eq!(parts.key, &datagram[3..consumed]);
                prop_assert_eq!(parts.data, &datagram[consumed..]);
                prop_assert_eq!(target(parts.key), Some(message.target));
            } else {
                prop_assert_eq!(parts.and_then(|parts| target(parts.key)), None);
            }
        }

        #[test]
        fn no_bytes_make_it_fail(datagram: Vec<u8>) {
            if let Some(parts) = Parts::split(&datagram) {
                prop_assert_eq!(3 + parts.key.len() + parts.data.len(), datagram.len());
            }
        }
    }

    #[test]
    fn an_answer_says_where_it_is_from() {
        let mut out = b"left over".to_vec();
        answer("192.0.2.7:53".parse().unwrap(), &mut out);
        assert_eq!(out, b"\0\0\0\x01\xc0\0\x02\x07\0\x35");
        answer("[2001:db8::7]:53".parse().unwrap(), &mut out);
        assert_eq!(out.len(), MAX_ANSWER);
    }
}
