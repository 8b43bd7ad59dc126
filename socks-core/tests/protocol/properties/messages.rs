//! What holds for every decoder and any bytes.

use std::fmt::Debug;

use socks_core::{
    Decode, DecodeError, Decoded, Encode,
    proxy_protocol::{Header, HeaderV1, HeaderV2},
    v4,
    v5::{self, gssapi, udp},
};

/// Feeds `input` to all decoders.
pub(crate) fn check(input: &[u8]) {
    check_one::<v4::Request>(input);
    check_one::<v4::Reply>(input);
    check_one::<v5::Greeting>(input);
    check_one::<v5::Selection>(input);
    check_one::<v5::PasswordRequest>(input);
    check_one::<v5::PasswordReply>(input);
    check_one::<v5::Request>(input);
    check_one::<v5::Reply>(input);
    check_one::<udp::Header>(input);
    check_one::<gssapi::Message>(input);
    check_one::<gssapi::Header>(input);
    check_one::<HeaderV1>(input);
    check_one::<HeaderV2>(input);
    check_one::<Header>(input);
}

/// Feeds `input` to one decoder.
pub(crate) fn check_one<T>(input: &[u8])
where
    T: Decode<Error = DecodeError> + Encode + PartialEq + Debug,
{
    let whole = T::decode(input);
    // Where the message ends, or cannot end before.
    let end = match &whole {
        Ok(Decoded::Complete { message, consumed }) => {
            assert!(*consumed <= input.len());
            assert!((T::MIN_LEN..=T::MAX_LEN).contains(consumed));
            check_encoding(message);
            *consumed
        }
        Ok(Decoded::Incomplete { needed }) => {
            assert!(*needed > 0);
            input.len() + needed
        }
        Err(_) => T::MAX_LEN,
    };
    assert!(end <= T::MAX_LEN, "{end} bytes of {}", T::MAX_LEN);
    check_prefixes(input, &whole, end);
    check_exact_reads(input, &whole);
}

/// What was read can be written, and read again as the same.
fn check_encoding<T>(message: &T)
where
    T: Decode<Error = DecodeError> + Encode + PartialEq + Debug,
{
    let bytes = message.to_bytes();
    assert!((T::MIN_LEN..=T::MAX_LEN).contains(&bytes.len()));
    match T::decode(&bytes) {
        Ok(Decoded::Complete {
            message: again,
            consumed,
        }) => {
            assert_eq!(&again, message);
            assert_eq!(consumed, bytes.len());
            assert_eq!(again.to_bytes(), bytes);
        }
        other => panic!("{message:?} became {other:?}"),
    }
}

/// The start of a message is incomplete, asks for no more than there is, and
/// is wrong only if the whole is wrong in the same way.
fn check_prefixes<T>(input: &[u8], whole: &Result<Decoded<T>, DecodeError>, end: usize)
where
    T: Decode<Error = DecodeError> + PartialEq + Debug,
{
    // Past the longest message but GSS-API's there is nothing new to see.
    const ENOUGH: usize = 600;
    let mut known_wrong = false;
    for len in (0..input.len()).filter(|&len| len < ENOUGH || len + 2 > input.len()) {
        match T::decode(&input[..len]) {
            Ok(Decoded::Incomplete { needed }) => {
                assert!(needed > 0);
                assert!(len + needed <= end, "{len} + {needed} > {end}");
                assert!(!known_wrong, "{len} bytes became right again");
            }
            Ok(Decoded::Complete { message, consumed }) => {
                assert!(consumed <= len);
                assert_eq!(consumed, end);
                assert_eq!(Ok(Decoded::Complete { message, consumed }), *whole);
            }
            Err(error) => {
                known_wrong = true;
                assert_eq!(Err(error), *whole);
            }
        }
    }
}

/// Who reads what is asked for, and no more, comes to the same, and to the end
/// of the message exactly.
fn check_exact_reads<T>(input: &[u8], whole: &Result<Decoded<T>, DecodeError>)
where
    T: Decode<Error = DecodeError> + PartialEq + Debug,
{
    let mut have = 0;
    loop {
        let decoded = T::decode(&input[..have]);
        match decoded {
            Ok(Decoded::Incomplete { needed }) if have + needed <= input.len() => have += needed,
            Ok(Decoded::Incomplete { needed }) => {
                assert!(
                    !matches!(whole, Ok(Decoded::Complete { .. })),
                    "asked for {needed} more than {have} bytes: {whole:?}"
                );
                return;
            }
            decoded => {
                if let Ok(Decoded::Complete { consumed, .. }) = decoded {
                    assert_eq!(consumed, have);
                }
                assert_eq!(decoded, *whole);
                return;
            }
        }
    }
}
