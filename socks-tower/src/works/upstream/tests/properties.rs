//! Any proxy at all.

use std::{
    collections::VecDeque,
    future::ready,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// A proxy that says `segments`, whatever it is told, and hangs up.
#[derive(Clone)]
struct Says(VecDeque<Vec<u8>>);

impl Says {
    fn cut(bytes: &[u8], pieces: usize) -> Self {
        Self(bytes.chunks(pieces).map(<[u8]>::to_vec).collect())
    }

    fn rest(self) -> Vec<u8> {
        self.0.into_iter().flatten().collect()
    }
}

impl AsyncRead for Says {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(first) = self.0.front_mut() {
            let len = first.len().min(buf.remaining());
            buf.put_slice(&first[..len]);
            first.drain(..len);
            if first.is_empty() {
                self.0.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Says {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const PROTOCOLS: [&str; 3] = [
    "socks5h://joe:secret@a",
    "socks4a://joe@a",
    "http://joe:secret@a",
];

/// What comes of asking a proxy that says `bytes`: what failed, or what is the
/// target's.
fn asked(protocol: &str, bytes: &[u8], pieces: usize) -> Result<Vec<u8>, UpstreamFailure> {
    let says = Says::cut(bytes, pieces);
    let inner = service_fn(move |_: Request| ready(Ok::<_, Infallible>(says.clone())));
    let hop = ProxyConnector::new(protocol.parse().unwrap(), inner).hop;
    let mut asking = tokio_test::task::spawn(hop.connect(to("example.com:80")));
    match asking.poll() {
        Poll::Ready(Ok(upstream)) => Ok(upstream.io.rest()),
        Poll::Ready(Err(error)) => Err(failure(&error)),
        Poll::Pending => panic!("nothing is waited for"),
    }
}

/// Bytes like those of a proxy, and some that are not.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\x05\x00".to_vec()),
        Just(b"\x05\x02".to_vec()),
        Just(b"\x01\x00".to_vec()),
        Just(GRANTED.to_vec()),
        Just(b"\x05\x00\x00\x03".to_vec()),
        Just(b"\x00\x5a\x00\x00\x00\x00\x00\x00".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"A: b\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_a_proxy_says_it_is_the_same_however_it_is_cut(
        bytes in answers(),
        pieces in 1_usize..40,
    ) {
        for protocol in PROTOCOLS {
            let whole = asked(protocol, &bytes, usize::MAX);
            let cut = asked(protocol, &bytes, pieces);
            prop_assert_eq!(&whole, &cut);
            if let Ok(rest) = whole {
                prop_assert!(bytes.ends_with(&rest));
            }
        }
    }

    #[test]
    fn what_follows_the_answer_is_the_target_s_whatever_it_is(
        surplus in proptest::collection::vec(any::<u8>(), 0..300),
        bound in proptest::collection::vec(any::<u8>(), 0..256),
        pieces in 1_usize..40,
        with_password in any::<bool>(),
    ) {
        let len = u8::try_from(bound.len()).unwrap();
        let granted = [&[5, 0, 0, 3, len], &bound[..], &[0, 80]].concat();
        let let_in: &[u8] = if with_password { b"\x05\x02\x01\x00" } else { b"\x05\x00" };
        let field = bound.escape_ascii().to_string();
        for (protocol, answer) in [
            (PROTOCOLS[0], [let_in, &granted].concat()),
            (PROTOCOLS[1], b"\x00\x5a\x00\x50\x00\x00\x00\x00".to_vec()),
            (PROTOCOLS[2], format!("HTTP/1.1 200 OK\r\nA: {field}\r\n\r\n").into_bytes()),
        ] {
            let bytes = [answer, surplus.clone()].concat();
            prop_assert_eq!(asked(protocol, &bytes, pieces), Ok(surplus.clone()));
        }
    }
}
