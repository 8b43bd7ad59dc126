//! Who is let in.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use socks_tests::{
    child::{self, Child},
    client::{Refused, assert_echoes, socks4, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::{Instant, sleep},
};

use crate::file::File;

#[tokio::test]
async fn the_users_of_the_file_and_of_the_command_line_are_let_in() {
    let origin = Origin::echo(V4).await;
    let file = File::new("# who may\n\njoe:s3cret\r\nann:with:colon and space \n");
    let child = Child::start(&[
        "--allow-private",
        "--users",
        file.name(),
        "--user",
        "bob:b0b",
    ])
    .await;
    for login in [
        ("joe", "s3cret"),
        ("ann", "with:colon and space "),
        ("bob", "b0b"),
    ] {
        let mut tunnel = socks5(child.addr(), Some(login), origin.addr())
            .await
            .unwrap();
        assert_echoes(&mut tunnel, b"let in").await;
    }
    for login in [
        ("joe", "guess"),
        ("joe", "b0b"),
        ("nobody", "s3cret"),
        ("joe", ""),
        ("", ""),
        ("# who may", ""),
    ] {
        let refused = socks5(child.addr(), Some(login), origin.addr()).await;
        assert_eq!(refused.unwrap_err(), Refused::Password, "{login:?}");
    }
}

#[tokio::test]
async fn with_users_nobody_comes_in_without_a_password() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--user", "joe:s3cret"]).await;
    let refused = socks5(child.addr(), None, origin.addr()).await;
    assert_eq!(refused.unwrap_err(), Refused::Method);
    let refused = socks4(child.addr(), origin.addr()).await;
    assert_eq!(refused.unwrap_err(), Refused::Request(91));
}

#[tokio::test]
async fn a_file_of_no_users_lets_nobody_in() {
    let origin = Origin::echo(V4).await;
    let file = File::new("# nobody yet\n");
    let child = Child::start(&["--allow-private", "--users", file.name()]).await;
    for login in [None, Some(("", "")), Some(("# nobody yet", ""))] {
        let refused = socks5(child.addr(), login, origin.addr()).await;
        let expected = login.map_or(Refused::Method, |_| Refused::Password);
        assert_eq!(refused.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_name() {
    let origin = Origin::echo(V4).await;
    for text in [
        "\u{feff}joe:s3cret\n",
        "\u{feff}# who may\r\njoe:s3cret\r\n",
    ] {
        let file = File::new(text);
        let child = Child::start(&["--allow-private", "--users", file.name()]).await;
        let mut tunnel = socks5(child.addr(), RIGHT, origin.addr()).await.unwrap();
        assert_echoes(&mut tunnel, b"let in").await;
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_and_no_password_shown() {
    let missing = child::run(&["--users", "/nonexistent/users"]).await;
    missing.expect_failure(1, "/nonexistent/users");
    for line in unusable() {
        let file = File::new(&format!("joe:right\n{line}\n"));
        let ran = child::run(&["--listen", "127.0.0.1:0", "--users", file.name()]).await;
        ran.expect_failure(1, file.name());
        ran.expect_failure(1, "line 2");
        assert!(!ran.stderr.contains("s3cret"), "{ran}");
    }
}

#[tokio::test]
async fn a_user_that_no_client_could_be_is_a_mistake_that_names_the_argument() {
    for user in unusable() {
        let args = ["--listen", "127.0.0.1:0", "--user", "joe:right"];
        let ran = child::run(&[&args[..], &["--user", &user]].concat()).await;
        ran.expect_failure(1, "--user (number 2): ");
        assert!(!ran.stderr.contains("s3cret"), "{ran}");
    }
}

/// Users that no client could be: RFC 1929 gives each 1 to 255 bytes.
fn unusable() -> Vec<String> {
    let long = "x".repeat(256);
    vec![
        "s3cret-alone".to_owned(),
        ":s3cret".to_owned(),
        "ann:".to_owned(),
        ":".to_owned(),
        format!("ann:s3cret{long}"),
        format!("{long}:s3cret"),
        // Hashes that are too weak, cost too much, or are none.
        "ann:$apr1$s3cret$E3ihGacYYk8uwcv70uYhJ1".to_owned(),
        "ann:{SHA}s3cret5en6G6MezRroT3XKqkdPOmY/BfQ=".to_owned(),
        "ann:$2y$31$s3cretWKzbu2zdUXzdgx.te026.OKKflvLEJX0weSglWVmwfAY.i".to_owned(),
        "ann:$2y$05$s3cret".to_owned(),
        "ann:$y$j9T$s3cret".to_owned(),
    ]
}

const RIGHT: Option<(&str, &str)> = Some(("joe", "s3cret"));
const WRONG: Option<(&str, &str)> = Some(("joe", "guess"));

/// The same two for HTTP, in Base64.
const HTTP_RIGHT: &str = "am9lOnMzY3JldA==";
const HTTP_WRONG: &str = "am9lOmd1ZXNz";

/// The status of the answer to a CONNECT with these credentials.
async fn http_status(proxy: SocketAddr, credentials: &str) -> String {
    let head =
        format!("CONNECT 127.0.0.1:1 HTTP/1.1\r\nProxy-Authorization: Basic {credentials}\r\n\r\n");
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    patiently("an answer", stream.read_exact(&mut answer))
        .await
        .unwrap();
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

#[tokio::test]
async fn wrong_passwords_lock_a_client_out_for_a_while() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&[
        "--allow-private",
        "--user",
        "joe:s3cret",
        "--lockout-after",
        "3",
        "--lockout-time",
        "3",
    ])
    .await;
    let ask = |login| socks5(child.addr(), login, origin.addr());
    for _ in 0..2 {
        assert_eq!(ask(WRONG).await.unwrap_err(), Refused::Password);
    }
    let mut tunnel = ask(RIGHT).await.unwrap();
    assert_echoes(&mut tunnel, b"a success clears the count").await;

    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(ask(WRONG).await.unwrap_err(), Refused::Password);
    }
    assert_eq!(ask(RIGHT).await.unwrap_err(), Refused::Password);
    let back = async {
        while let Err(refused) = ask(RIGHT).await {
            assert_eq!(refused, Refused::Password);
            sleep(Duration::from_millis(50)).await;
        }
    };
    patiently("the end of the lock", back).await;
    assert!(began.elapsed() >= Duration::from_secs(3));
    assert_echoes(&mut tunnel, b"a tunnel that stands is not touched").await;
}

#[tokio::test]
async fn passwords_by_socks_and_by_http_are_counted_together() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--user", "joe:s3cret", "--lockout-after", "2"]).await;
    // Let in, and the target denied.
    assert_eq!(http_status(child.addr(), HTTP_RIGHT).await, "403");

    let refused = socks5(child.addr(), WRONG, origin.addr()).await;
    assert_eq!(refused.unwrap_err(), Refused::Password);
    assert_eq!(http_status(child.addr(), HTTP_WRONG).await, "407");

    let refused = socks5(child.addr(), RIGHT, origin.addr()).await;
    assert_eq!(refused.unwrap_err(), Refused::Password);
    assert_eq!(http_status(child.addr(), HTTP_RIGHT).await, "407");
}

#[tokio::test]
async fn unless_asked_for_nobody_is_locked_out() {
    let origin = Origin::echo(V4).await;
    let child = Child::start(&["--allow-private", "--user", "joe:s3cret"]).await;
    for _ in 0..50 {
        let refused = socks5(child.addr(), WRONG, origin.addr()).await;
        assert_eq!(refused.unwrap_err(), Refused::Password);
    }
    let mut tunnel = socks5(child.addr(), RIGHT, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"let in").await;
}

#[tokio::test]
async fn the_time_of_a_lock_without_a_number_of_failures_is_a_mistake() {
    let ran = child::run(&["--user", "joe:s3cret", "--lockout-time", "5"]).await;
    ran.expect_failure(1, "--lockout-after");
    let ran = child::run(&["--user", "joe:s3cret", "--lockout-after", "0"]).await;
    ran.expect_failure(2, "--lockout-after");
}

#[tokio::test]
async fn a_lockout_without_users_is_a_mistake_that_names_what_is_missing() {
    let ran = child::run(&["--lockout-after", "3"]).await;
    ran.expect_failure(1, "add --user or --users");
}

#[tokio::test]
async fn users_of_the_file_alone_can_be_locked_out() {
    let origin = Origin::echo(V4).await;
    let file = File::new("joe:s3cret\n");
    let child = Child::start(&["--users", file.name(), "--lockout-after", "1"]).await;
    for login in [WRONG, RIGHT] {
        let refused = socks5(child.addr(), login, origin.addr()).await;
        assert_eq!(refused.unwrap_err(), Refused::Password);
    }
}

/// Of "s3cret": by `htpasswd -nbB -C 4`, and by `argon2 somesalt -id -k 64 -t 1 -e`.
const BCRYPT: &str = "$2y$04$hckwFDI1Ue1Akfqce5x13ek6OdlwQLMW2yKam/db6czSowcTHRwda";
const ARGON2: &str =
    "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$6Crvd0pUWwUX9JdfBSpZ7dOnM78DdrdhAOj1hvHMiF8";

#[tokio::test]
async fn of_hashed_users_the_passwords_are_let_in_and_not_the_hashes() {
    let origin = Origin::echo(V4).await;
    let file = File::new(&format!(
        "joe:{BCRYPT}\r\nann:{ARGON2}:of the second floor\nbob:$in clear\n"
    ));
    let child = Child::start(&["--allow-private", "--users", file.name()]).await;
    // The second time they are remembered.
    for _ in 0..2 {
        for login in [("joe", "s3cret"), ("ann", "s3cret"), ("bob", "$in clear")] {
            let tunnel = socks5(child.addr(), Some(login), origin.addr()).await;
            assert_echoes(&mut tunnel.unwrap(), b"let in").await;
        }
        for login in [
            ("joe", "guess"),
            ("joe", BCRYPT),
            ("joe", ""),
            ("bob", "s3cret"),
            ("eve", "s3cret"),
        ] {
            let refused = socks5(child.addr(), Some(login), origin.addr()).await;
            assert_eq!(refused.unwrap_err(), Refused::Password, "{login:?}");
        }
        // A port that is closed, or the answer of an origin that speaks no HTTP.
        assert_ne!(http_status(child.addr(), HTTP_RIGHT).await, "407");
        assert_eq!(http_status(child.addr(), HTTP_WRONG).await, "407");
    }
}

/// What `socks-proxy hash` makes of this input.
async fn hash(args: &[&str], input: &[u8]) -> (Option<i32>, String) {
    let mut hash = Command::new(child::path());
    hash.arg("hash").args(args).kill_on_drop(true);
    hash.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut hash = hash.stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = hash.stdin.take().unwrap();
    // One that refuses its arguments reads nothing.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    let output = patiently("a hash", hash.wait_with_output()).await.unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), line)
}

#[tokio::test]
async fn the_lines_of_socks_proxy_hash_let_in_who_they_are_of() {
    let origin = Origin::echo(V4).await;
    let mut lines = String::new();
    for (args, input) in [
        (&["joe"][..], &b"s3cret\n"[..]),
        (&["ann", "--bcrypt", "4"], b"\xef\xbb\xbfs3cret\r\nmore\n"),
        (&["bob"], b"with $ and : and space "),
    ] {
        let (code, line) = hash(args, input).await;
        assert_eq!(code, Some(0), "{args:?}");
        assert!(!line.contains("s3cret") && line.ends_with('\n'), "{line}");
        lines += &line;
    }
    let file = File::new(&lines);
    // A hash takes long where nothing is optimized.
    let args = ["--allow-private", "--handshake-timeout", "60", "--users"];
    let child = Child::start(&[&args[..], &[file.name()]].concat()).await;
    for login in [
        ("joe", "s3cret"),
        ("ann", "s3cret"),
        ("bob", "with $ and : and space "),
    ] {
        let tunnel = socks5(child.addr(), Some(login), origin.addr()).await;
        assert_echoes(&mut tunnel.unwrap(), b"let in").await;
    }
}

#[tokio::test]
async fn a_line_that_would_let_nobody_in_is_not_made() {
    let long = "x".repeat(256);
    for (args, input) in [
        (&["joe"][..], &b"\n"[..]),
        (&["joe"], b""),
        (&["joe"], long.as_bytes()),
        (&["joe"], b"\xff\n"),
        (&["joe", "--bcrypt", "15"], b"s3cret\n"),
        (&["joe", "--bcrypt", "3"], b"s3cret\n"),
        (&["joe", "--bcrypt", "4"], &long.as_bytes()[..73]),
        (&["joe:s3cret"], b"s3cret\n"),
        (&["#joe"], b"s3cret\n"),
        (&[""], b"s3cret\n"),
        (&[&long], b"s3cret\n"),
        (&[], b"s3cret\n"),
        (&["joe", "s3cret"], b"s3cret\n"),
    ] {
        let (code, line) = hash(args, input).await;
        assert_ne!(code, Some(0), "{args:?}");
        assert_eq!(line, "");
    }
}

#[tokio::test]
async fn secrets_are_found_in_the_environment_and_in_files() {
    let origin = Origin::echo(V4).await;
    let file = File::new("ann:pa55\nbob:pa:ss\n");
    let in_file = format!("file:{}", file.name());
    let args = [
        "--allow-private",
        "--user",
        "env:SOME_USER",
        "--user",
        &in_file,
    ];
    let child = Child::start_with_env(&[("SOME_USER", "joe:s3cret")], &args).await;
    for (name, password) in [("joe", "s3cret"), ("ann", "pa55"), ("bob", "pa:ss")] {
        let tunnel = socks5(child.addr(), Some((name, password)), origin.addr()).await;
        assert_echoes(&mut tunnel.unwrap(), b"let in").await;
    }
    for (name, password) in [("env", "SOME_USER"), ("joe", "env:SOME_USER"), ("ann", "x")] {
        let refused = socks5(child.addr(), Some((name, password)), origin.addr()).await;
        assert_eq!(refused.unwrap_err(), Refused::Password);
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_a_mistake_that_says_where() {
    for (user, why) in [
        ("env:SOCKS_TESTS_NOT_SET", "SOCKS_TESTS_NOT_SET"),
        ("file:/nonexistent/users", "/nonexistent/users"),
    ] {
        let ran = child::run(&["--listen", "127.0.0.1:0", "--user", user]).await;
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(
            ran.stderr.contains("--user") && ran.stderr.contains(why),
            "{ran}"
        );
    }
}
