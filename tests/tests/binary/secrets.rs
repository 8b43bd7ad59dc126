//! No password is in what it writes, however talkative it is.
//!
//! All passwords here, right ones and wrong ones, begin with `hunter2-`.

use std::time::Duration;

use socks_tests::{
    child::{self, Child},
    client::{assert_echoes, read_to_the_end, socks5},
    origin::{Origin, V4},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::file::File;

/// Of "hunter2-hashed", by `htpasswd -nbB -C 4`.
const HASH: &str = "$2y$04$ykAv8j25hVOv6nLpIusgt.cGepxNg5ST/eijmE8hnpN0TqCySMz8G";

/// How a password might get into a log: as it is, as Base64 behind a name of three
/// letters and a colon, as bytes in decimal, and in hexadecimal. And a hash.
const NEEDLES: [&str; 5] = [
    "hunter2-",
    "bnRlcjIt",
    "110, 116, 101, 114, 50",
    "6e74657232",
    "$2y$04$",
];

fn assert_no_secret(written: &str) {
    for needle in NEEDLES {
        let leaks: Vec<_> = written.lines().filter(|it| it.contains(needle)).collect();
        assert!(leaks.is_empty(), "{leaks:#?}");
    }
}

/// Ends it; what it has written is talkative, and has no secret in it.
async fn assert_discreet(child: Child) {
    child.terminate();
    let (_, log) = child.wait().await;
    assert!(
        log.contains("DEBUG") && log.contains("socks::access"),
        "{log}"
    );
    assert_no_secret(&log);
}

/// Sends `message` in two parts, and hears what comes of it.
async fn say(child: &Child, message: &[u8], cut: usize) {
    let mut stream = TcpStream::connect(child.addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (first, second) = message.split_at(cut.min(message.len()));
    stream.write_all(first).await.unwrap();
    // So that they are two reads, most of the time.
    sleep(Duration::from_millis(5)).await;
    // It may have hung up by now.
    let _ = stream.write_all(second).await;
    let _ = stream.shutdown().await;
    read_to_the_end(&mut stream).await;
}

/// All that clients say with a password in it.
async fn clients(child: &Child, target: std::net::SocketAddr) {
    for (name, password) in [
        ("joe", "hunter2-right"),
        ("ann", "hunter2-hashed"),
        ("bob", "hunter2-clear"),
        ("joe", "hunter2-wrong"),
        ("ann", "hunter2-wrong"),
        ("eve", "hunter2-wrong"),
    ] {
        if let Ok(mut tunnel) = socks5(child.addr(), Some((name, password)), target).await {
            assert_echoes(&mut tunnel, b"let in").await;
        }
    }
    let right = b"\x05\x01\x02\x01\x03joe\x0dhunter2-right";
    let udp = b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00";
    let bind = b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50";
    // The password is there, but nothing around it is as it should be: a wrong version, a
    // length that is a lie, a client that leaves in the middle.
    for message in [
        &[&right[..], udp].concat()[..],
        &[&right[..], bind].concat(),
        b"\x05\x01\x02\x02\x03joe\x0dhunter2-wrong",
        b"\x05\x01\x02\x01\x03joe\xffhunter2-wrong",
        b"\x05\x01\x02\x01\x03joe\x0dhunter2-right\x05\x09\x00\x09hunter2-wrong",
        b"hunter2-wrong",
        b"\x05\x01\x00hunter2-wrong",
    ] {
        for cut in [0, 12] {
            say(child, message, cut).await;
        }
    }
    for field in [
        "Basic am9lOmh1bnRlcjItcmlnaHQ=",
        "Basic am9lOmh1bnRlcjItd3Jvbmc=",
        "Basic am9lOmh1bnRlcjItd3Jvbm",
        "Basic joe:hunter2-wrong",
        "Bearer hunter2-wrong",
        "hunter2-wrong",
    ] {
        let head = format!("CONNECT 127.0.0.1:1 HTTP/1.1\r\nProxy-Authorization: {field}\r\n\r\n");
        let twice = head.replace(
            "\r\n\r\n",
            &format!("\r\nProxy-Authorization: {field}\r\n\r\n"),
        );
        for (head, cut) in [(&head, 0), (&head, 65), (&twice, 0)] {
            say(child, head.as_bytes(), cut).await;
        }
    }
    let in_target = b"CONNECT joe:hunter2-wrong@127.0.0.1:1 HTTP/1.1\r\n\r\n";
    say(child, in_target, 0).await;
}

#[tokio::test]
async fn no_password_is_logged_at_any_level_in_any_form() {
    let origin = Origin::echo(V4).await;
    let file = File::new(&format!("ann:{HASH}\nbob:hunter2-clear\n"));
    let users = ["--user", "joe:hunter2-right", "--users", file.name()];
    for format in ["text", "json"] {
        let talkative = ["--log", "trace", "--log-format", format];
        let serves = ["--allow-private", "--bind", "--resolve-commands"];
        let args = [&users[..], &talkative, &serves].concat();
        let child = Child::start(&args).await;
        clients(&child, origin.addr()).await;

        // Through it, with the right password, and another.
        for password in ["hunter2-right", "hunter2-wrong"] {
            for scheme in ["socks5", "socks5h", "http"] {
                let url = format!("{scheme}://joe:{password}@{}", child.addr());
                let route = format!("192.0.2.0/24={url}");
                let upstream = ["--upstream", &url, "--route", &route];
                let locks = ["--allow-private", "--lockout-after", "100"];
                let args = [&users[..], &talkative, &locks, &upstream].concat();
                let through = Child::start(&args).await;
                let login = Some(("ann", "hunter2-hashed"));
                for target in [origin.addr(), "192.0.2.1:1".parse().unwrap()] {
                    let _ = socks5(through.addr(), login, target).await;
                }
                assert_discreet(through).await;
            }
        }
        assert_discreet(child).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_reload_that_fails_shows_no_line_of_the_users() {
    let file = File::new(&format!("ann:{HASH}\n"));
    let child = Child::start(&["--log", "trace", "--users", file.name()]).await;
    for line in ["ann:$1$hunter2-weak", "hunter2-alone", ":hunter2-nobody"] {
        file.write(&format!("bob:hunter2-clear\n{line}\n"));
        let before = child.log().matches("not reloaded").count();
        child.signal(rustix::process::Signal::HUP);
        let told = async {
            while child.log().matches("not reloaded").count() == before {
                sleep(Duration::from_millis(2)).await;
            }
        };
        socks_tests::patiently("the reload", told).await;
        assert!(child.log().contains("line 2"), "{}", child.log());
    }
    assert_no_secret(&child.log());
}

#[tokio::test]
async fn what_is_printed_and_what_is_wrong_shows_no_password() {
    let file = File::new("ann:$1$hunter2-weak\n");
    let configs = [
        "user = [\"joe:hunter2-right\"]\nupstream = [\"joe:hunter2-up@127.0.0.1\"]\n",
        "usr = [\"joe:hunter2-right\"]\n",
        "user = [\"joe:hunter2-right\"\n",
        "user = [\"joe:hunter2-right]\n",
        "user = \"joe:hunter2-right\"\n",
        "upstream = [\"socks5://joe:hunter2-up@127.0.0.1\", 5]\n",
    ];
    let configs = configs.map(File::new);
    let url = "socks5h://joe:hunter2-up@127.0.0.1";
    let login = "joe:hunter2-right";
    let mut wrong = vec![
        vec!["--print-config", "--user", login, "--upstream", url],
        vec!["--check", "--users", file.name()],
        vec!["--check", "--upstream", "ftp://joe:hunter2-up@127.0.0.1"],
        vec!["--check", "--upstream", "socks5://joe:hunter2-up@:x"],
        vec!["--check", "--route", "a.example=joe:hunter2-up@127.0.0.1"],
        vec!["--check", "--user", ":hunter2-right"],
        vec!["--check", "--user", "hunter2-right"],
    ];
    for config in &configs {
        for task in ["--check", "--print-config"] {
            wrong.push(vec![task, "--config", config.name()]);
        }
    }
    for args in wrong {
        let ran = child::run(&args).await;
        assert_no_secret(&ran.stderr);
        assert_no_secret(&String::from_utf8_lossy(&ran.stdout));
    }
}
