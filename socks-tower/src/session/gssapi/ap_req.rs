//! What tells a Kerberos client's first token from all others.

/// The mechanism's OID, 1.2.840.113554.1.2.2.
const KRB5: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";

/// The authenticator in a first token, encrypted as it is (RFC 1964 section 1.1, RFC 4120
/// section 5.5.1): the client makes a new one each time, and nobody else can make one. The
/// rest of the token can be written differently, and be as good.
///
/// ```text
/// [APPLICATION 0] { OID, 01 00, AP-REQ }
/// AP-REQ ::= [APPLICATION 14] SEQUENCE {
///     [0] pvno, [1] msg-type, [2] ap-options, [3] Ticket, [4] EncryptedData }
/// EncryptedData ::= SEQUENCE { [0] etype, [1] kvno OPTIONAL, [2] OCTET STRING }
/// ```
pub(crate) fn authenticator(token: &[u8]) -> Option<&[u8]> {
    let (token, &[]) = element(0x60, token)? else {
        return None;
    };
    let (oid, rest) = element(0x06, token)?;
    let request = rest.strip_prefix(b"\x01\x00").filter(|_| oid == KRB5)?;
    let (request, _) = element(0x6e, request)?;
    let (mut fields, _) = element(0x30, request)?;
    for tag in 0xa0..=0xa3 {
        (_, fields) = element(tag, fields)?;
    }
    let (encrypted, _) = element(0xa4, fields)?;
    let (mut fields, _) = element(0x30, encrypted)?;
    for tag in 0xa0..=0xa1 {
        match element(tag, fields) {
            Some((_, rest)) => fields = rest,
            // The key's version may be left out.
            None if tag == 0xa1 => {}
            None => return None,
        }
    }
    let (cipher, _) = element(0xa2, fields)?;
    let (cipher, _) = element(0x04, cipher)?;
    (!cipher.is_empty()).then_some(cipher)
}

/// The content of the element at the front of `input`, which `tag` begins, and what
/// follows it.
fn element(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, len], rest) = input.split_first_chunk()?;
    let (len, rest) = match len {
        0..=0x7f => (usize::from(len), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
            let len = bytes
                .iter()
                .fold(0, |len, &byte| len << 8 | usize::from(byte));
            (len, rest)
        }
        // Of a length that is not told, or beyond what a token has room for.
        _ => return None,
    };
    rest.split_at_checked(len).filter(|_| found == tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An element, its length in as many bytes as it may be.
    fn wrapped(tag: u8, content: &[u8], long: bool) -> Vec<u8> {
        let len = content.len();
        let len = match (long, u8::try_from(len)) {
            (false, Ok(short @ 0..=0x7f)) => vec![short],
            _ => [&[0x82], &u16::try_from(len).unwrap().to_be_bytes()[..]].concat(),
        };
        [&[tag], &len[..], content].concat()
    }

    fn token(cipher: &[u8], kvno: bool, long: bool) -> Vec<u8> {
        let e = |tag, content: &[u8]| wrapped(tag, content, long);
        let kvno = if kvno {
            e(0xa1, b"\x02\x01\x02")
        } else {
            Vec::new()
        };
        let cipher = e(0xa2, &e(0x04, cipher));
        let encrypted = e(0x30, &[e(0xa0, b"\x02\x01\x12"), kvno, cipher].concat());
        let ticket = e(0xa3, &e(0x61, b"a ticket"));
        let fields = [
            e(0xa0, b"\x02\x01\x05"),
            e(0xa1, b"\x02\x01\x0e"),
            e(0xa2, b"\x03\x05\x00\x20\x00\x00\x00"),
            ticket,
            e(0xa4, &encrypted),
        ];
        let request = e(0x6e, &e(0x30, &fields.concat()));
        e(
            0x60,
            &[e(0x06, KRB5), b"\x01\x00".to_vec(), request].concat(),
        )
    }

    #[test]
    fn the_authenticator_is_found_however_the_rest_is_written() {
        for (kvno, long) in [(false, false), (true, false), (false, true), (true, true)] {
            let token = token(b"cipher", kvno, long);
            assert_eq!(authenticator(&token), Some(&b"cipher"[..]));
        }
        assert_eq!(
            authenticator(&token(&[7; 300], true, false)),
            Some(&[7; 300][..])
        );
    }

    #[test]
    fn what_is_no_such_token_has_none() {
        let whole = token(b"cipher", true, false);
        for end in 0..whole.len() {
            assert_eq!(authenticator(&whole[..end]), None);
        }
        assert_eq!(authenticator(&[&whole[..], b"more"].concat()), None);
        assert_eq!(authenticator(&token(b"", true, false)), None);
        // SPNEGO, which would negotiate another mechanism.
        let spnego = wrapped(0x60, b"\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x00", false);
        assert_eq!(authenticator(&spnego), None);
        assert_eq!(authenticator(b"\x60\x80\x06\x00\x00\x00"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(mut token: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = authenticator(&token);
            token.splice(..0, self::token(b"cipher", true, false));
            let at = at.index(token.len());
            token[at] = byte;
            let _ = authenticator(&token);
        }
    }
}
