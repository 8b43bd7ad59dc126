//! Any message there is, written and read, whole and cut short anywhere.

use std::{fmt::Debug, net::SocketAddrV4};

use proptest::{collection::vec, prelude::*};
use socks_core::{
    Credentials, Decode, DecodeError, Encode,
    v4::{self, UserId},
    v5::{
        Command, Greeting, Method, PasswordReply, PasswordRequest, Reply, ReplyCode, Request,
        Selection,
        gssapi::{Message, MessageType, Token},
        udp::{Fragment, Header},
    },
};

use crate::{
    bytes::assert_reads,
    properties::{messages, target},
};

/// `message` is read as it was written, and any beginning of it is incomplete
/// in a way that makes sense.
fn assert_round_trip<T>(message: &T)
where
    T: Decode<Error = DecodeError> + Encode + PartialEq + Debug,
{
    let bytes = message.to_bytes();
    assert_reads(&bytes, message);
    for len in 0..bytes.len() {
        messages::check_one::<T>(&bytes[..len]);
    }
}

fn user_id() -> impl Strategy<Value = UserId> {
    vec(1_u8.., 0..12).prop_map(|user_id| UserId::new(&user_id).unwrap())
}

fn credentials() -> impl Strategy<Value = Credentials> {
    let field = || vec(any::<u8>(), 0..40);
    (field(), field()).prop_map(|(user, password)| Credentials::new(user, password).unwrap())
}

fn frame() -> impl Strategy<Value = Message> {
    let message_type = prop::sample::select(vec![
        MessageType::Context,
        MessageType::ProtectionLevel,
        MessageType::Data,
    ]);
    let token = vec(any::<u8>(), 0..300).prop_map(|token| Token::new(token).unwrap());
    prop_oneof![
        9 => (message_type, token).prop_map(|(message_type, token)| Message::Token {
            message_type,
            token,
        }),
        1 => Just(Message::Abort),
    ]
}

proptest! {
    // Each case reads a message as often as its length squared.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn socks4_is_read_as_it_was_written(
        command in any::<u8>().prop_map(Command),
        target in target(),
        user_id in user_id(),
        code in any::<u8>().prop_map(v4::ReplyCode),
        bound in any::<SocketAddrV4>(),
    ) {
        assert_round_trip(&v4::Request { command, target, user_id });
        assert_round_trip(&v4::Reply { code, bound });
    }

    #[test]
    fn the_negotiation_is_read_as_it_was_written(
        methods in vec(any::<u8>().prop_map(Method), 0..=255),
        method in any::<u8>().prop_map(Method),
        credentials in credentials(),
        status in any::<u8>(),
    ) {
        assert_round_trip(&Greeting::new(methods).unwrap());
        assert_round_trip(&Selection { method });
        assert_round_trip(&PasswordRequest { credentials });
        assert_round_trip(&PasswordReply { status });
    }

    #[test]
    fn requests_are_read_as_they_were_written(
        command in any::<u8>().prop_map(Command),
        code in any::<u8>().prop_map(ReplyCode),
        fragment in any::<u8>().prop_map(Fragment),
        target in target(),
    ) {
        assert_round_trip(&Request { command, target: target.clone() });
        assert_round_trip(&Reply { code, bound: target.clone() });
        assert_round_trip(&Header { fragment, target });
    }

    #[test]
    fn frames_are_read_as_they_were_written(frame in frame()) {
        assert_round_trip(&frame);
    }
}
