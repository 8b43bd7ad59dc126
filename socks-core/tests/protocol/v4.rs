//! SOCKS4's and SOCKS4a's messages.

use socks_core::{
    DecodeError, DomainNameError, Encode, Host, Target,
    v4::{Reply, ReplyCode, Request, UserId},
    v5::Command,
};

use crate::{
    bytes::{assert_bytes, assert_invalid, assert_reads},
    named, target,
};

fn request(command: Command, target: Target, user_id: &[u8]) -> Request {
    Request {
        command,
        target,
        user_id: UserId::new(user_id).unwrap(),
    }
}

#[test]
fn an_address_is_asked_for_in_socks4() {
    assert_bytes(
        b"\x04\x01\x00\x50\xc0\x00\x02\x07Fred\0",
        &request(Command::CONNECT, target("192.0.2.7:80"), b"Fred"),
    );
    assert_bytes(
        b"\x04\x02\xff\xff\xcb\x00\x71\x01\0",
        &request(Command::BIND, target("203.0.113.1:65535"), b""),
    );
    let request = request(Command(0x7f), target("0.0.0.0:0"), &[0xff; UserId::MAX_LEN]);
    let bytes = [b"\x04\x7f\0\0\0\0\0\0", &[0xff; 255][..], b"\0"].concat();
    assert_bytes(&bytes, &request);
    assert!(!request.is_v4a());
}

#[test]
fn a_name_is_asked_for_in_socks4a() {
    let example = request(Command::CONNECT, named("example.com", 80), b"Fred");
    assert_bytes(
        b"\x04\x01\x00\x50\x00\x00\x00\x01Fred\0example.com\0",
        &example,
    );
    // Any of 0.0.0.x announces a name.
    assert_reads(
        b"\x04\x01\x00\x50\x00\x00\x00\xffFred\0example.com\0",
        &example,
    );
    assert!(example.is_v4a());

    let long = format!("{}.example.com", "a".repeat(243));
    let bytes = [
        b"\x04\xf0\0\0\0\0\0\x01",
        &[b'u'; 255][..],
        b"\0",
        long.as_bytes(),
        b"\0",
    ]
    .concat();
    assert_eq!(bytes.len(), 520, "the longest there is");
    assert_bytes(
        &bytes,
        &request(Command::RESOLVE, named(&long, 0), &[b'u'; 255]),
    );
}

#[test]
fn an_address_that_socks4_cannot_say_is_spelt_as_a_name() {
    assert_bytes(
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x002001:db8::1\0",
        &request(Command::CONNECT, target("[2001:db8::1]:80"), b""),
    );
    assert_bytes(
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x000.0.0.7\0",
        &request(Command::CONNECT, target("0.0.0.7:80"), b""),
    );
    assert_reads(
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x000x7f.1\0",
        &request(Command::CONNECT, target("127.0.0.1:80"), b""),
    );
}

#[test]
fn a_request_without_an_end_is_cut_short() {
    let head = b"\x04\x01\x00\x50\xc0\x00\x02\x07";
    let bytes = [&head[..], &[b'u'; UserId::MAX_LEN + 1]].concat();
    assert_invalid::<Request>(&bytes, DecodeError::UserIdTooLong);

    let head = b"\x04\x01\x00\x50\x00\x00\x00\x01\0";
    let bytes = [&head[..], &[b'a'; 256]].concat();
    assert_invalid::<Request>(&bytes, DomainNameError::TooLong.into());
}

#[test]
fn a_name_that_is_none_is_refused() {
    for (name, error) in [
        (&b"\0"[..], DomainNameError::Empty),
        (b".\0", DomainNameError::Empty),
        (b"a\r\nb\0", DomainNameError::Forbidden),
        (b"a b\0", DomainNameError::Forbidden),
        (b"\xff\xfe\0", DomainNameError::NotUtf8),
        (b"1.2.3.4.5\0", DomainNameError::IpAddress),
    ] {
        let bytes = [b"\x04\x01\x00\x50\x00\x00\x00\x01\0", name].concat();
        assert_invalid::<Request>(&bytes, error.into());
    }
}

#[test]
fn another_version_is_no_request() {
    for found in [0, 1, 3, 5, b'G', 0xff] {
        let expected = 4;
        assert_invalid::<Request>(&[found], DecodeError::Version { expected, found });
    }
}

#[test]
fn a_user_id_is_bounded_and_holds_no_nul() {
    assert!(UserId::new(&[b'u'; 256]).is_err());
    assert!(UserId::new(b"a\0b").is_err());
    assert_eq!(
        format!("{:?}", UserId::new(b"a\n\xff").unwrap()),
        r#""a\n\xff""#
    );
}

#[test]
fn replies_begin_with_zero() {
    for (byte, code) in [
        (90, ReplyCode::GRANTED),
        (91, ReplyCode::REJECTED),
        (92, ReplyCode::IDENTD_UNREACHABLE),
        (93, ReplyCode::USER_ID_MISMATCH),
        (0, ReplyCode(0)),
    ] {
        assert_bytes(
            &[0, byte, 0x1f, 0x90, 192, 0, 2, 7],
            &Reply {
                code,
                bound: "192.0.2.7:8080".parse().unwrap(),
            },
        );
    }
    let (expected, found) = (0, 4);
    assert_invalid::<Reply>(&[4], DecodeError::Version { expected, found });
}

#[test]
fn no_target_breaks_out_of_its_field() {
    // A NUL in a name would end it early, and make a second one of the rest.
    assert!("a\0b".parse::<Host>().is_err());
    let bytes = request(Command::CONNECT, named("a.b", 1), b"u").to_bytes();
    assert_eq!(bytes.iter().filter(|&&byte| byte == 0).count(), 3 + 1 + 2);
}
