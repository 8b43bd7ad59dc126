//! Instructions to read and to write each message.

use std::{hint::black_box, net::Ipv4Addr};

use gungraun::prelude::*;
use socks_core::{
    Credentials, Decode, Decoded, Encode, Target,
    v4::{self, UserId},
    v5::{
        Command, Greeting, Method, PasswordReply, PasswordRequest, Reply, ReplyCode, Request,
        Selection,
        gssapi::{Message, MessageType, Token},
        udp::{Fragment, Header},
    },
};

fn greeting() -> Greeting {
    Greeting::new([Method::NONE, Method::USERNAME_PASSWORD]).expect("two fit")
}

fn selection() -> Selection {
    Selection {
        method: Method::NONE,
    }
}

fn password() -> PasswordRequest {
    let credentials = Credentials::new("bench", "correct horse").expect("short enough");
    PasswordRequest { credentials }
}

fn password_reply() -> PasswordReply {
    PasswordReply::SUCCESS
}

fn target(text: &str) -> Target {
    text.parse().expect("a target")
}

fn request(text: &str) -> Request {
    Request {
        command: Command::CONNECT,
        target: target(text),
    }
}

fn reply() -> Reply {
    Reply {
        code: ReplyCode::SUCCEEDED,
        bound: target("192.0.2.7:50123"),
    }
}

fn socks4(text: &str) -> v4::Request {
    v4::Request {
        command: Command::CONNECT,
        target: target(text),
        user_id: UserId::new(b"bench").expect("short enough"),
    }
}

fn socks4_reply() -> v4::Reply {
    v4::Reply {
        code: v4::ReplyCode::GRANTED,
        bound: (Ipv4Addr::LOCALHOST, 50123).into_addr(),
    }
}

fn datagram() -> Header {
    Header {
        fragment: Fragment::STANDALONE,
        target: target("192.0.2.7:53"),
    }
}

fn gssapi() -> Message {
    Message::Token {
        message_type: MessageType::Context,
        token: Token::new(vec![7; 64]).expect("short enough"),
    }
}

/// `(address, port)` as the reply of SOCKS4 holds it.
trait IntoAddr {
    fn into_addr(self) -> std::net::SocketAddrV4;
}

impl IntoAddr for (Ipv4Addr, u16) {
    fn into_addr(self) -> std::net::SocketAddrV4 {
        std::net::SocketAddrV4::new(self.0, self.1)
    }
}

/// Bytes to read, and a buffer that has room to write.
fn bytes(message: impl Encode) -> Vec<u8> {
    message.to_bytes()
}

fn room<M: Encode>(message: M) -> (M, Vec<u8>) {
    (message, Vec::with_capacity(512))
}

fn read<M: Decode<Error = socks_core::DecodeError>>(bytes: Vec<u8>) -> Decoded<M> {
    let message = M::decode(black_box(&bytes)).expect("what was written");
    // Whoever reads has to free what he read as well.
    black_box(message)
}

fn write<M: Encode>((message, mut out): (M, Vec<u8>)) -> (M, Vec<u8>) {
    message.encode(black_box(&mut out));
    (message, out)
}

/// Two benchmarks, of reading and of writing, for each message.
macro_rules! messages {
    ($($name:ident / $write:ident: $type:ty, $($case:ident = $message:expr),+;)+) => {
        $(
            #[library_benchmark]
            $(#[bench::$case(bytes($message))])+
            fn $name(bytes: Vec<u8>) -> Decoded<$type> {
                read(bytes)
            }

            #[library_benchmark]
            $(#[bench::$case(room($message))])+
            fn $write(message: ($type, Vec<u8>)) -> ($type, Vec<u8>) {
                write(message)
            }
        )+
        library_benchmark_group!(name = reading, benchmarks = [$($name),+]);
        library_benchmark_group!(name = writing, benchmarks = [$($write),+]);
    };
}

messages! {
    read_greeting / write_greeting: Greeting, two_methods = greeting();
    read_selection / write_selection: Selection, none = selection();
    read_password / write_password: PasswordRequest, short = password();
    read_password_reply / write_password_reply: PasswordReply, granted = password_reply();
    read_request / write_request: Request,
        ipv4 = request("192.0.2.7:443"),
        ipv6 = request("[2001:db8::7]:443"),
        name = request("www.example.com:443");
    read_reply / write_reply: Reply, ipv4 = reply();
    read_socks4 / write_socks4: v4::Request,
        ipv4 = socks4("192.0.2.7:443"),
        name = socks4("www.example.com:443");
    read_socks4_reply / write_socks4_reply: v4::Reply, granted = socks4_reply();
    read_udp_header / write_udp_header: Header, ipv4 = datagram();
    read_gssapi / write_gssapi: Message, token = gssapi();
}

main!(library_benchmark_groups = reading, writing);
