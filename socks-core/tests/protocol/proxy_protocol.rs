//! The PROXY protocol: its specification's rules, byte by byte, and another
//! crate's opinion.

use std::net::SocketAddr;

use proptest::prelude::*;
use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader};
use socks_core::{
    Decode, DecodeError, Decoded, Encode,
    proxy_protocol::{
        Addresses, Endpoints, Header, HeaderV1, HeaderV2, ProxyHeaderError as Error, Tlvs,
    },
};

use crate::properties::messages;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// From 192.0.2.7:50123 to 198.51.100.1:1080.
const ADDRESSES: &[u8] = b"\xc0\x00\x02\x07\xc6\x33\x64\x01\xc3\xcb\x04\x38";

fn endpoints() -> Endpoints {
    Endpoints::new(
        "192.0.2.7:50123".parse().unwrap(),
        "198.51.100.1:1080".parse().unwrap(),
    )
}

/// A header of version 2.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap();
    [SIGNATURE, &[command, family], &len.to_be_bytes(), body].concat()
}

fn whole(input: &[u8]) -> Header {
    match Header::decode(input) {
        Ok(Decoded::Complete { message, consumed }) => {
            assert_eq!(consumed, input.len());
            message
        }
        other => panic!("{:?}: {other:?}", input.escape_ascii().to_string()),
    }
}

fn wrong(input: &[u8]) -> Error {
    match Header::decode(input) {
        Err(DecodeError::ProxyHeader(error)) => error,
        other => panic!("{:?}: {other:?}", input.escape_ascii().to_string()),
    }
}

#[test]
fn a_line_says_both_ends() {
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 1080\r\n";
    assert_eq!(whole(line), Header::v1(endpoints()));
    assert_eq!(Header::v1(endpoints()).to_bytes(), line);

    let line = b"PROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 0 65535\r\n";
    let header = whole(line);
    let endpoints = header.endpoints().unwrap();
    assert_eq!(endpoints.source(), "[2001:db8::7]:0".parse().unwrap());
    assert_eq!(
        endpoints.destination(),
        "[::ffff:192.0.2.1]:65535".parse().unwrap()
    );
    assert_eq!(header.to_bytes(), line);
}

#[test]
fn an_unknown_line_is_skipped_to_its_end() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(longest.len(), HeaderV1::MAX_LEN);
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN \rany\nthing\r\n",
        &longest,
    ] {
        assert_eq!(
            whole(line.as_bytes()),
            Header::V1(HeaderV1::Unknown),
            "{line:?}"
        );
    }
}

#[test]
fn there_is_one_way_to_write_a_line() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 01080\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 +1080\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 65536\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 1080 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 1080 x\r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 50123 1080\r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 50123 1080\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 50123 1080\r\n",
        "PROXY TCP4 2001:db8::7 198.51.100.1 50123 1080\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::8 50123 1080\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 50123 1080\r\n",
        "PROXY TCP6 [2001:db8::7] 2001:db8::8 50123 1080\r\n",
        "PROXY TCP6 fe80::1%lo 2001:db8::8 50123 1080\r\n",
        "PROXY TCP4\t192.0.2.7 198.51.100.1 50123 1080\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 1080\n\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50123 \u{661}\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 50123 1080\r\n",
        "PROXY tcp4 192.0.2.7 198.51.100.1 50123 1080\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(wrong(line.as_bytes()), Error::Line, "{line:?}");
    }
}

#[test]
fn what_cannot_become_a_header_is_told_at_once() {
    for start in [
        "\x05\x01\x00",
        "\x04\x01",
        "GET ",
        "PROXZ",
        "proxy",
        "\r\n\r\n\0\r\nQUIT\r",
    ] {
        assert_eq!(wrong(start.as_bytes()), Error::Signature, "{start:?}");
    }
    assert_eq!(wrong(b"PROXY U-"), Error::Line);
    let endless = [b"PROXY UNKNOWN".to_vec(), vec![b' '; 94]].concat();
    assert_eq!(wrong(&endless), Error::LineTooLong);
}

#[test]
fn a_binary_header_says_both_ends() {
    let bytes = v2(0x21, 0x11, ADDRESSES);
    assert_eq!(whole(&bytes), Header::v2(endpoints()));
    assert_eq!(Header::v2(endpoints()).to_bytes(), bytes);

    let mixed = Endpoints::new(
        "192.0.2.7:1".parse().unwrap(),
        "[2001:db8::1]:2".parse().unwrap(),
    );
    let bytes = Header::v2(mixed).to_bytes();
    assert_eq!(bytes[13..16], [0x21, 0, 36]);
    let source = whole(&bytes).endpoints().unwrap().source();
    assert_eq!(source, "[::ffff:192.0.2.7]:1".parse().unwrap());
}

#[test]
fn what_is_no_tcp_connection_names_no_ends() {
    let udp = v2(0x21, 0x12, ADDRESSES);
    for bytes in [
        udp.clone(),
        v2(0x21, 0x00, b""),
        v2(0x21, 0x31, &[b'/'; 216]),
        v2(0x21, 0x32, &[0; 216]),
        // A health check, whatever else it says.
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, ADDRESSES),
        v2(0x20, 0xff, b"anything"),
    ] {
        assert_eq!(whole(&bytes).endpoints(), None);
    }
    let Header::V2(HeaderV2::Proxy { addresses, .. }) = whole(&udp) else {
        panic!("PROXY")
    };
    assert_eq!(addresses, Addresses::Udp(endpoints()));
}

#[test]
fn a_binary_header_must_add_up() {
    for (bytes, error) in [
        (v2(0x11, 0x11, ADDRESSES), Error::Command(0x11)),
        (v2(0x22, 0x11, ADDRESSES), Error::Command(0x22)),
        (v2(0x21, 0x13, ADDRESSES), Error::Family(0x13)),
        (v2(0x21, 0x41, ADDRESSES), Error::Family(0x41)),
        (v2(0x21, 0x01, b""), Error::Family(0x01)),
        (v2(0x21, 0x21, ADDRESSES), Error::Length),
        (v2(0x21, 0x11, &ADDRESSES[..11]), Error::Length),
        (v2(0x21, 0x31, &[0; 215]), Error::Length),
    ] {
        // Known as soon as the fixed part is there.
        assert_eq!(wrong(&bytes[..16]), error);
    }
    for (tlvs, error) in [
        (&b"\x02"[..], Error::Length),
        (b"\x02\x00\x02a", Error::Length),
        (b"\x05\x00\x81", Error::Length),
        (b"\x03\x00\x03\0\0\0", Error::Extension(3)),
        (
            b"\x03\x00\x04\0\0\0\0\x03\x00\x04\0\0\0\0",
            Error::Extension(3),
        ),
    ] {
        assert_eq!(wrong(&v2(0x21, 0x11, &[ADDRESSES, tlvs].concat())), error);
    }
    let long_id = [ADDRESSES, b"\x05\x00\x81", &[0; 129]].concat();
    assert_eq!(wrong(&v2(0x21, 0x11, &long_id)), Error::Extension(5));
}

#[test]
fn extensions_are_kept_but_those_about_the_header() {
    let tlvs = b"\x04\x00\x02..\x02\x00\x0bexample.com\xe0\x00\x00";
    let header = whole(&v2(0x21, 0x11, &[ADDRESSES, tlvs].concat()));
    let Header::V2(HeaderV2::Proxy { tlvs, .. }) = &header else {
        panic!("{header:?}")
    };
    assert_eq!(
        tlvs.iter().collect::<Vec<_>>(),
        [(2, &b"example.com"[..]), (0xe0, b"")]
    );
    assert_eq!(tlvs.get(Tlvs::AUTHORITY), Some(&b"example.com"[..]));
    assert_eq!(tlvs.get(Tlvs::NOOP), None);
    assert_eq!(
        header.to_bytes(),
        v2(
            0x21,
            0x11,
            &[ADDRESSES, b"\x02\x00\x0bexample.com\xe0\x00\x00"].concat()
        )
    );
}

#[test]
fn a_header_takes_only_the_extensions_that_it_has_room_for() {
    assert!(Tlvs::new().with(Tlvs::CRC32C, &[0; 4]).is_err());
    assert!(Tlvs::new().with(Tlvs::UNIQUE_ID, &[0; 129]).is_err());
    let full = Tlvs::new().with(0xe0, &vec![0; Tlvs::MAX_LEN - 3]).unwrap();
    assert!(full.clone().with(0xe1, b"").is_err());
    assert!(Tlvs::new().with(0xe0, &vec![0; Tlvs::MAX_LEN - 2]).is_err());
    for addresses in [Addresses::Unix, Addresses::Tcp(endpoints())] {
        let tlvs = full.clone();
        let header = Header::V2(HeaderV2::Proxy { addresses, tlvs });
        assert_eq!(whole(&header.to_bytes()), header);
    }
}

#[test]
fn a_checksum_is_verified_over_the_whole_header() {
    // The checksum stands amid other extensions; its value was computed
    // apart, by a table.
    let tlvs = b"\x02\x00\x01a\x03\x00\x04\x65\x08\x5d\x02\x04\x00\x01!";
    let bytes = v2(0x21, 0x11, &[ADDRESSES, tlvs].concat());
    assert_eq!(whole(&bytes).endpoints(), Some(endpoints()));
    // Another length is another header, and another type no checksum.
    for at in (12..bytes.len()).filter(|at| ![14, 15, 32].contains(at)) {
        for bit in [1, 0x80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= bit;
            assert!(
                !matches!(Header::decode(&flipped), Ok(Decoded::Complete { message, .. })
                    if message.endpoints().is_some()),
                "byte {at}"
            );
        }
    }
    let mut flipped = bytes;
    flipped[16] ^= 1;
    assert_eq!(wrong(&flipped), Error::Checksum);
}

/// Bytes that are headers, or nearly.
fn nearly_a_header() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec![
        "PROXY ",
        "TCP4 ",
        "TCP6 ",
        "UNKNOWN",
        "192.0.2.7 ",
        "2001:db8::7 ",
        "0 ",
        "01 ",
        "65535",
        "80",
        " ",
        "\r\n",
        "\r",
    ]);
    let line = prop::collection::vec(field, 0..9).prop_map(|fields| {
        let line = fields.concat();
        [b"PROXY TCP4 192.0.2.7 ", line.as_bytes()].concat()
    });
    let tlv = (
        prop_oneof![0_u8..6, any::<u8>()],
        prop::collection::vec(any::<u8>(), 0..6),
    )
        .prop_map(|(kind, value)| {
            let len = u16::try_from(value.len()).unwrap();
            [&[kind][..], &len.to_be_bytes(), &value].concat()
        });
    let binary = (
        prop_oneof![9 => Just(0x21_u8), 1 => Just(0x20), 1 => any::<u8>()],
        prop::sample::select(vec![0x00_u8, 0x11, 0x12, 0x21, 0x22, 0x31, 0x13]),
        prop::sample::select(vec![0_usize, 11, 12, 36, 216]),
        prop::collection::vec(tlv, 0..4),
        any::<u8>(),
    )
        .prop_map(|(command, family, len, tlvs, byte)| {
            v2(command, family, &[vec![byte; len], tlvs.concat()].concat())
        });
    prop_oneof![line, binary]
}

proptest! {
    #[test]
    fn decoders_hold_for_what_is_nearly_a_header(bytes in nearly_a_header(), more in "[ -~]{0,4}") {
        messages::check_one::<HeaderV1>(&bytes);
        messages::check_one::<HeaderV2>(&bytes);
        messages::check_one::<Header>(&[bytes, more.into_bytes()].concat());
    }

    #[test]
    fn another_crate_reads_what_we_write(source: SocketAddr, destination: SocketAddr, text: bool) {
        let endpoints = Endpoints::new(source, destination);
        let header = if text { Header::v1(endpoints) } else { Header::v2(endpoints) };
        let bytes = header.to_bytes();

        let (theirs, consumed) = ProxyHeader::parse(&bytes, ParseConfig::default()).unwrap();

        prop_assert_eq!(consumed, bytes.len());
        let theirs = theirs.proxied_address().unwrap();
        prop_assert_eq!(theirs.source, endpoints.source());
        prop_assert_eq!(theirs.destination, endpoints.destination());
        prop_assert_eq!(whole(&bytes), header);
    }

    #[test]
    fn we_read_what_another_crate_writes(source: SocketAddr, destination: SocketAddr) {
        prop_assume!(source.is_ipv4() == destination.is_ipv4());
        let theirs = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
        let mut bytes = Vec::new();
        theirs.encode_v2(&mut bytes).unwrap();
        prop_assert_eq!(whole(&bytes), Header::v2(Endpoints::new(source, destination)));
    }

    /// They are laxer about lines, and do not look at checksums.
    #[test]
    fn what_we_read_another_crate_reads_as_well(bytes in nearly_a_header()) {
        // Of LOCAL they want an address of the family that it names.
        let Ok(Decoded::Complete { message, consumed }) = Header::decode(&bytes) else {
            return Ok(());
        };
        if let Some(endpoints) = message.endpoints() {
            let (theirs, theirs_consumed) =
                ProxyHeader::parse(&bytes, ParseConfig::default()).unwrap();
            prop_assert_eq!(theirs_consumed, consumed);
            prop_assert_eq!(theirs.proxied_address().unwrap().source, endpoints.source());
        }
    }
}
