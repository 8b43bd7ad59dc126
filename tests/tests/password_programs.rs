//! Apache's htpasswd, whose files `socks-proxy` reads, and which reads ours.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, io::Write, path::PathBuf, process::Stdio};

use socks_tests::{
    child::{self, Child},
    client::{Refused, assert_echoes, socks5},
    origin::{Origin, V4},
    program,
};

/// A file's path, and no file there.
fn path(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

#[tokio::test]
#[ignore = "needs htpasswd"]
async fn who_is_in_a_file_of_htpasswd_is_let_in() {
    let origin = Origin::echo(V4).await;
    let path = path("htpasswd-made");
    let file = path.to_str().unwrap();
    for flags in [
        &["-cbB", file, "joe", "s3cret"][..],
        &["-bB", "-C", "10", file, "ann", "p\u{e4}ssw\u{f6}rd"],
        &["-b2", file, "bob", "s3cret"],
        &["-b5", "-r", "1000", file, "eve", "s3cret"],
    ] {
        let _ = program::run("htpasswd", "apache2-utils", flags)
            .await
            .expect_success();
    }
    let child = Child::start(&["--allow-private", "--users", file]).await;
    for login in [
        ("joe", "s3cret"),
        ("ann", "p\u{e4}ssw\u{f6}rd"),
        ("bob", "s3cret"),
        ("eve", "s3cret"),
    ] {
        let tunnel = socks5(child.addr(), Some(login), origin.addr()).await;
        assert_echoes(&mut tunnel.unwrap(), b"let in").await;
        let refused = socks5(child.addr(), Some((login.0, "guess")), origin.addr()).await;
        assert_eq!(refused.unwrap_err(), Refused::Password);
    }
    for weak in ["-m", "-s", "-d"] {
        let flags = ["-cb", weak, file, "joe", "s3cret"];
        let _ = program::run("htpasswd", "apache2-utils", &flags)
            .await
            .expect_success();
        let ran = child::run(&["--check", "--users", file]).await;
        // DES's crypt looks like a password in clear, and is one here.
        match weak {
            "-d" => drop(ran.expect_success()),
            _ => ran.expect_failure(1, "too weak"),
        }
    }
    fs::remove_file(path).unwrap();
}

#[tokio::test]
#[ignore = "needs htpasswd"]
async fn htpasswd_verifies_a_line_of_ours() {
    let path = path("htpasswd-verifies");
    let mut hash = std::process::Command::new(child::path());
    hash.args(["hash", "joe", "--bcrypt", "6"]);
    let mut hash = hash
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    hash.stdin.take().unwrap().write_all(b"s3cret\n").unwrap();
    fs::write(&path, hash.wait_with_output().unwrap().stdout).unwrap();
    let file = path.to_str().unwrap();
    let right = ["-vb", file, "joe", "s3cret"];
    let ran = program::run("htpasswd", "apache2-utils", &right).await;
    let _ = ran.expect_success();
    let wrong = ["-vb", file, "joe", "guess"];
    let ran = program::run("htpasswd", "apache2-utils", &wrong).await;
    ran.expect_failure(3, "password verification failed");
    fs::remove_file(path).unwrap();
}
