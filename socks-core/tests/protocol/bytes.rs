//! Messages against the bytes that the RFCs give them.

use std::fmt::Debug;

use socks_core::{Decode, DecodeError, Decoded, Encode};

use crate::properties::messages;

/// `bytes` are `message`, in both directions and however they arrive.
pub(crate) fn assert_bytes<T>(bytes: &[u8], message: &T)
where
    T: Decode<Error = DecodeError> + Encode + PartialEq + Debug,
{
    assert_eq!(message.to_bytes(), bytes, "{message:?}");
    assert_reads(bytes, message);
}

/// `bytes` are read as `message`, however they arrive, and to the last one.
pub(crate) fn assert_reads<T>(bytes: &[u8], message: &T)
where
    T: Decode<Error = DecodeError> + Encode + PartialEq + Debug,
{
    messages::check_one::<T>(bytes);
    for surplus in [&b""[..], b"\0", b"\x05\x01\x00", &[0xff; 300]] {
        match T::decode(&[bytes, surplus].concat()) {
            Ok(Decoded::Complete {
                message: found,
                consumed,
            }) => {
                assert_eq!(&found, message);
                assert_eq!(consumed, bytes.len(), "{message:?}");
            }
            other => panic!("{other:?} instead of {message:?}"),
        }
    }
}

/// `bytes` are no `T`, and the last of them is what shows it.
pub(crate) fn assert_invalid<T>(bytes: &[u8], error: DecodeError)
where
    T: Decode<Error = DecodeError> + Encode + PartialEq + Debug,
{
    messages::check_one::<T>(bytes);
    assert_eq!(T::decode(bytes), Err(error), "{}", bytes.escape_ascii());
    let before = T::decode(&bytes[..bytes.len() - 1]);
    assert!(
        matches!(before, Ok(Decoded::Incomplete { .. })),
        "{} is wrong sooner: {before:?}",
        bytes.escape_ascii()
    );
}
