//! SOCKS5's messages: RFC 1928 and RFC 1929.

use socks_core::{
    Credentials, DecodeError, DomainNameError, Target,
    v5::{
        Command, Greeting, Method, PasswordReply, PasswordRequest, Reply, ReplyCode, Request,
        Selection,
        udp::{Fragment, Header},
    },
};

use crate::{
    bytes::{assert_bytes, assert_invalid, assert_reads},
    named, target,
};

/// Addresses as section 5 has them, and what they are.
fn addresses() -> Vec<(Vec<u8>, Target)> {
    let long = format!("{}.example.com", "a".repeat(243));
    vec![
        (
            b"\x01\xc0\x00\x02\x07\x00\x50".to_vec(),
            target("192.0.2.7:80"),
        ),
        (b"\x01\0\0\0\0\0\0".to_vec(), Target::UNSPECIFIED),
        (
            b"\x03\x0bexample.com\x01\xbb".to_vec(),
            named("example.com", 443),
        ),
        (b"\x03\x01a\xff\xff".to_vec(), named("a", 65535)),
        (
            [b"\x03\xff", long.as_bytes(), b"\0\0"].concat(),
            named(&long, 0),
        ),
        (
            b"\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1f\x90".to_vec(),
            target("[2001:db8::1]:8080"),
        ),
    ]
}

#[test]
fn a_greeting_counts_its_methods() {
    assert_bytes(b"\x05\x01\x00", &Greeting::new([Method::NONE]).unwrap());
    let all = [Method::NONE, Method::GSSAPI, Method::USERNAME_PASSWORD];
    assert_bytes(b"\x05\x03\x00\x01\x02", &Greeting::new(all).unwrap());
    assert_bytes(b"\x05\x00", &Greeting::new([]).unwrap());

    let most = Greeting::new((0..255).map(Method)).unwrap();
    let bytes: Vec<u8> = [5, 255].into_iter().chain(0..=254).collect();
    assert_bytes(&bytes, &most);
    assert!(most.offers(Method(254)) && !most.offers(Method(255)));
}

#[test]
fn a_selection_is_two_bytes() {
    for method in [Method::NONE, Method::USERNAME_PASSWORD, Method(0x80)] {
        assert_bytes(&[5, method.0], &Selection { method });
    }
    let method = Method::NO_ACCEPTABLE;
    assert_bytes(b"\x05\xff", &Selection { method });
}

#[test]
fn credentials_are_counted_bytes() {
    let request = |username: &[u8], password: &[u8]| PasswordRequest {
        credentials: Credentials::new(username, password).unwrap(),
    };
    assert_bytes(b"\x01\x03joe\x06secret", &request(b"joe", b"secret"));
    assert_bytes(b"\x01\x00\x00", &request(b"", b""));
    assert_bytes(b"\x01\x01\x00\x02\x00\xff", &request(b"\0", b"\0\xff"));
    let longest = [&b"\x01\xff"[..], &[b'u'; 255], b"\xff", &[b'p'; 255]].concat();
    assert_eq!(longest.len(), 513);
    assert_bytes(&longest, &request(&[b'u'; 255], &[b'p'; 255]));
}

#[test]
fn any_status_but_zero_is_a_failure() {
    assert_bytes(b"\x01\x00", &PasswordReply::SUCCESS);
    assert_bytes(b"\x01\x01", &PasswordReply::FAILURE);
    assert_bytes(b"\x01\xff", &PasswordReply { status: 0xff });
}

#[test]
fn a_request_names_a_target_of_any_type() {
    for (bytes, target) in addresses() {
        for command in [
            Command::CONNECT,
            Command::BIND,
            Command::UDP_ASSOCIATE,
            Command::RESOLVE,
            Command::RESOLVE_PTR,
            Command(0x7f),
        ] {
            let target = target.clone();
            let bytes = [&[5, command.0, 0], &bytes[..]].concat();
            assert_bytes(&bytes, &Request { command, target });
        }
    }
}

#[test]
fn a_reply_tells_an_address_of_any_type() {
    for (bytes, bound) in addresses() {
        for code in (0..=8).chain(0xf0..=0xf7).chain([9, 0xff]).map(ReplyCode) {
            let bound = bound.clone();
            let bytes = [&[5, code.0, 0], &bytes[..]].concat();
            assert_bytes(&bytes, &Reply { code, bound });
        }
    }
}

#[test]
fn a_datagram_header_says_whether_it_is_a_fragment() {
    for (bytes, target) in addresses() {
        for fragment in [0, 1, 127, 128, 255].map(Fragment) {
            let target = target.clone();
            let bytes = [&[0, 0, fragment.0], &bytes[..]].concat();
            assert!(bytes.len() <= Header::MAX_LEN);
            assert_bytes(&bytes, &Header { fragment, target });
        }
    }
    assert!(Fragment::STANDALONE.is_standalone());
    let last = Fragment(0x83);
    assert!(last.is_last() && !last.is_standalone());
    assert_eq!(last.position(), 3);
}

#[test]
fn reserved_bytes_are_not_judged() {
    assert_reads(
        b"\x05\x01\x42\x01\xc0\x00\x02\x07\x00\x50",
        &Request {
            command: Command::CONNECT,
            target: target("192.0.2.7:80"),
        },
    );
    assert_reads(
        b"\x42\xff\x00\x01\xc0\x00\x02\x07\x00\x50",
        &Header {
            fragment: Fragment::STANDALONE,
            target: target("192.0.2.7:80"),
        },
    );
}

#[test]
fn an_address_in_a_name_field_is_an_address() {
    for spelling in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "127.0.0.1.",
    ] {
        let len = u8::try_from(spelling.len()).unwrap();
        let bytes = [
            b"\x05\x01\x00\x03",
            &[len][..],
            spelling.as_bytes(),
            b"\0\x50",
        ]
        .concat();
        let (command, target) = (Command::CONNECT, target("127.0.0.1:80"));
        assert_reads(&bytes, &Request { command, target });
    }
    assert_reads(
        b"\x05\x01\x00\x03\x05[::1]\x00\x50",
        &Request {
            command: Command::CONNECT,
            target: target("[::1]:80"),
        },
    );
}

#[test]
fn a_request_for_what_is_no_host_is_refused() {
    for (name, error) in [
        (&b"\x00"[..], DomainNameError::Empty),
        (b"\x01.", DomainNameError::Empty),
        (b"\x03a\0b", DomainNameError::Forbidden),
        (b"\x04a\r\nb", DomainNameError::Forbidden),
        (b"\x04a:80", DomainNameError::Forbidden),
        (b"\x01\xff", DomainNameError::NotUtf8),
        (b"\x091.2.3.4.5", DomainNameError::IpAddress),
    ] {
        assert_invalid::<Request>(&[b"\x05\x01\x00\x03", name].concat(), error.clone().into());
        assert_invalid::<Header>(&[b"\x00\x00\x00\x03", name].concat(), error.clone().into());
    }
    for address_type in [0, 2, 5, 0xff] {
        let error = DecodeError::AddressType(address_type);
        assert_invalid::<Request>(&[5, 1, 0, address_type], error.clone());
        assert_invalid::<Header>(&[0, 0, 0, address_type], error.clone());
    }
}

#[test]
fn another_version_is_no_message() {
    for found in [0, 4, 6, 0x16, b'G', 0xff] {
        let expected = 5;
        let error = DecodeError::Version { expected, found };
        assert_invalid::<Greeting>(&[found], error.clone());
        assert_invalid::<Selection>(&[found], error.clone());
        assert_invalid::<Request>(&[found], error.clone());
        assert_invalid::<Reply>(&[found], error.clone());
    }
    // RFC 1929's own version is 1, whatever stands around it.
    let (expected, found) = (1, 5);
    let error = DecodeError::Version { expected, found };
    assert_invalid::<PasswordRequest>(&[5], error.clone());
    assert_invalid::<PasswordReply>(&[5], error.clone());
}

#[test]
fn a_reply_is_read_whatever_its_address_holds() {
    let reply = |code, bound| Reply { code, bound };
    let ok = ReplyCode::SUCCEEDED;
    let refused = ReplyCode::CONNECTION_REFUSED;

    // A name that is none.
    let unknown = target("0.0.0.0:8080");
    for name in [&b"\x00"[..], b"\x01.", b"\x03a\0b", b"\x01\xff", b"\x03a:1"] {
        let bytes = [b"\x05\x00\x00\x03", name, b"\x1f\x90"].concat();
        assert_reads(&bytes, &reply(ok, unknown.clone()));
    }
    // An address as a name.
    assert_reads(
        b"\x05\x00\x00\x03\x09192.0.2.7\x1f\x90",
        &reply(ok, target("192.0.2.7:8080")),
    );
    // Nothing filled in but the code: ten bytes, or four of a refusal.
    assert_reads(b"\x05\0\0\0\0\0\0\0\0\0", &reply(ok, Target::UNSPECIFIED));
    assert_reads(b"\x05\x05\0\0", &reply(refused, Target::UNSPECIFIED));

    for code in [0, 1] {
        let error = DecodeError::AddressType(2);
        assert_invalid::<Reply>(&[5, code, 0, 2], error.clone());
    }
}

#[test]
fn codes_say_what_they_mean() {
    assert_eq!(ReplyCode::TTL_EXPIRED.to_string(), "ttl expired");
    assert_eq!(ReplyCode(0x42).to_string(), "0x42");
    assert_eq!(ReplyCode(0x42).description(), None);
    assert_eq!(format!("{:?}", Command::BIND), "Command::BIND");
    assert_eq!(format!("{:?}", Method(0x80)), "Method(0x80)");
}
