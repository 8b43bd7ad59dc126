//! RFC 1961's frames.

use socks_core::{
    DecodeError,
    v5::gssapi::{Header, Message, MessageType, Token},
};

use crate::bytes::{assert_bytes, assert_invalid};

fn token(message_type: MessageType, token: &[u8]) -> Message {
    Message::Token {
        message_type,
        token: Token::new(token.to_vec()).unwrap(),
    }
}

#[test]
fn a_token_is_framed_by_its_type_and_length() {
    assert_bytes(b"\x01\x01\x00\x03abc", &token(MessageType::Context, b"abc"));
    // What a server sends whose context is complete without a token.
    assert_bytes(b"\x01\x01\x00\x00", &token(MessageType::Context, b""));
    assert_bytes(
        b"\x01\x02\x00\x01\x02",
        &token(MessageType::ProtectionLevel, b"\x02"),
    );
    let data = [0xa5; 0x0102];
    assert_bytes(
        &[b"\x01\x03\x01\x02", &data[..]].concat(),
        &token(MessageType::Data, &data),
    );
}

#[test]
fn the_header_alone_says_what_follows() {
    let (message_type, len) = (MessageType::Data, 0x0102);
    assert_bytes(b"\x01\x03\x01\x02", &Header { message_type, len });
    // What an abort would be, nobody waits for the length of.
    assert_invalid::<Header>(b"\x01\xff", DecodeError::GssapiMessageType(0xff));
}

#[test]
fn a_token_fills_its_length_field_and_no_more() {
    let longest = vec![7; Token::MAX_LEN];
    assert_bytes(
        &[b"\x01\x03\xff\xff", &longest[..]].concat(),
        &token(MessageType::Data, &longest),
    );
    assert!(Token::new(vec![7; 65_536]).is_err());
}

#[test]
fn an_abort_has_no_length() {
    assert_bytes(b"\x01\xff", &Message::Abort);
}

#[test]
fn another_type_or_version_is_no_frame() {
    for message_type in [0, 4, 0xfe] {
        let error = DecodeError::GssapiMessageType(message_type);
        assert_invalid::<Message>(&[1, message_type], error);
    }
    let (expected, found) = (1, 5);
    assert_invalid::<Message>(&[5], DecodeError::Version { expected, found });
}

#[test]
fn a_token_prints_as_its_length() {
    let message = token(MessageType::Context, b"proof");
    assert!(format!("{message:?}").contains("Token(5 bytes)"));
    assert_eq!(
        Token::new(b"proof".to_vec()).unwrap().into_bytes(),
        b"proof"
    );
}
