//! Properties: each body takes any bytes, and is fed by proptest here, by the
//! fuzzer in `fuzz/`, and by the fuzzer's seeds in both.

pub(crate) mod client;
pub(crate) mod feed;
pub(crate) mod host;
pub(crate) mod messages;
pub(crate) mod server;

use std::{fs, net::IpAddr, path::Path};

use proptest::{collection::vec, prelude::*};
use socks_core::{DomainName, Host, Target};

/// Bytes that mean something to SOCKS more often than chance would have it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => 0_u8..=5,
        1 => Just(0xff),
        1 => Just(90_u8),
        2 => prop::sample::select(b"a.:0x9[]%".to_vec()),
        2 => any::<u8>(),
    ];
    prop_oneof![
        vec(byte, 0..24),
        vec(any::<u8>(), 0..600),
        messages_in_a_row()
    ]
}

/// What a client or a server might well send, perhaps with a slip in it, or cut
/// short.
fn messages_in_a_row() -> impl Strategy<Value = Vec<u8>> {
    let message = prop::sample::select(vec![
        &b"\x05\x01\x00"[..],
        b"\x05\x03\x00\x02\x80",
        b"\x05\x02",
        b"\x05\x00",
        b"\x05\x80",
        b"\x01\x00",
        b"\x01\x01",
        b"\x01\x03joe\x06secret",
        b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
        b"\x05\x02\x00\x03\x0bexample.com\x01\xbb",
        b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
        b"\x05\x00\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        b"\x05\x05\x00\x00",
        b"\x04\x01\x00\x50\xc0\x00\x02\x07joe\x00",
        b"\x04\x02\x01\xbb\x00\x00\x00\x01\x00example.com\x00",
        b"\x00\x5a\x00\x50\xc0\x00\x02\x07",
        b"\x00\x5b\x00\x00\x00\x00\x00\x00",
        b"GET / HTTP/1.1\r\n",
    ]);
    let slip = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    let cut = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (any::<u8>(), vec(message, 0..5), slip, cut).prop_map(|(setup, messages, slip, cut)| {
        let mut bytes = [vec![setup], messages.concat()].concat();
        if let Some((at, byte)) = slip {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    #[test]
    fn decoders_hold_for_any_bytes(bytes in bytes()) {
        messages::check(&bytes);
        messages::check(bytes.get(1..).unwrap_or_default());
    }

    #[test]
    fn the_server_holds_for_any_bytes(bytes in bytes()) {
        server::check(&bytes);
    }

    #[test]
    fn the_client_holds_for_any_bytes(bytes in bytes()) {
        client::check(&bytes);
    }

    #[test]
    fn hosts_hold_for_any_bytes(bytes in bytes()) {
        host::check(&bytes);
    }

    #[test]
    fn hosts_hold_for_any_text(text in "[-a-cA-C0-9xX.:%\\[\\]]{0,24}|\\PC{0,64}|[0-9.]{1,15}(:[0-9]{1,5})?") {
        host::check(text.as_bytes());
    }
}

#[test]
fn the_seeds_of_the_fuzzer_hold() {
    let all_seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    let checks: [(&str, fn(&[u8])); 4] = [
        ("messages", messages::check),
        ("server", server::check),
        ("client", client::check),
        ("host", host::check),
    ];
    for (target, check) in checks {
        let mut seeds = 0;
        for entry in fs::read_dir(all_seeds.join(target)).unwrap() {
            check(&fs::read(entry.unwrap().path()).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "{target} has no seeds");
    }
}

/// Any target there is: addresses of both families, names of any length.
pub(crate) fn target() -> impl Strategy<Value = Target> {
    let name = "[a-z]([-a-z0-9_]{0,30}\\.){0,7}[a-z]{1,8}\\.?"
        .prop_filter_map("no name", |name| DomainName::new(&name).ok());
    let host = prop_oneof![
        any::<IpAddr>().prop_map(Host::Ip),
        any::<u8>().prop_map(|x| Host::Ip([0, 0, 0, x].into())),
        name.prop_map(Host::Name),
    ];
    (host, any::<u16>()).prop_map(|(host, port)| Target { host, port })
}
