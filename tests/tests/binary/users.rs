//! Who is let in.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use socks_tests::{
    child::{self, Child},
    client::{Refused, assert_echoes, socks4, socks5},
    origin::{Origin, V4},
};

/// A file with `text`, until it is dropped.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("users-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn the_users_of_the_file_and_of_the_command_line_are_let_in() {
    let origin = Origin::echo(V4).await;
    let file = File::new("# who may\n\njoe:s3cret\r\nann:with:colon and space \nempty:\n");
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
        ("empty", ""),
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
        ("empty", "x"),
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
async fn a_file_that_cannot_be_used_is_named_and_no_password_shown() {
    let missing = child::run(&["--users", "/nonexistent/users"]).await;
    missing.expect_failure(1, "/nonexistent/users");
    let long = "x".repeat(256);
    for line in ["s3cret-alone", ":s3cret", &format!("joe:s3cret{long}")] {
        let file = File::new(&format!("joe:right\n{line}\n"));
        let ran = child::run(&["--listen", "127.0.0.1:0", "--users", file.name()]).await;
        ran.expect_failure(1, file.name());
        ran.expect_failure(1, "line 2");
        assert!(!ran.stderr.contains("s3cret"), "{ran}");
    }
    let ran = child::run(&["--user", "s3cret-alone"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(!ran.stderr.contains("s3cret"), "{ran}");
}
