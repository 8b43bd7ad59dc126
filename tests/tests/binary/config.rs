//! What a file says, and what flags say in the same words.

use std::time::Duration;

use socks_tests::{
    child::{self, Child},
    client::{Login, Refused, assert_echoes, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::file::File;

const JOE: Option<Login<'_>> = Some(("joe", "s3cret"));
const ANN: Option<Login<'_>> = Some(("ann", "pa55"));

/// A proxy whose file begins with two users and a port of its own.
async fn start(rest: &str) -> (File, Child) {
    let users = r#"user = ["joe:s3cret", "ann:pa55"]"#;
    let file = File::new(&format!("listen = [\"127.0.0.1:0\"]\n{users}\n{rest}"));
    let child = Child::start_as(&["--config", file.name()]).await;
    (file, child)
}

#[tokio::test]
async fn a_mistake_is_told_with_its_line_and_what_was_expected() {
    for (text, line, why) in [
        (
            "lisen = [\"127.0.0.1:1080\"]",
            1,
            "there is no such key; listen is one",
        ),
        ("\n\nfrobnicate = 1", 3, "there is no such key; --help"),
        ("listen = \"127.0.0.1:1080\"", 1, "listen: expected a list"),
        (
            "listen = [\n\"127.0.0.1:0\",\n\"here\"]",
            3,
            "listen: \"here\": not ADDR:PORT",
        ),
        (
            "# no\ngrace = \"soon\"",
            2,
            "grace: expected a number that is not negative",
        ),
        ("open = 1", 1, "open: expected true or false"),
        ("threads = 0", 1, "threads: expected a number, 1 or more"),
        ("log-format = \"xml\"", 1, "expected `text` or `json`"),
        ("grace = 1\ngrace = 2", 2, "duplicate key"),
        (
            "grace = 1\nlockout-time = 3",
            2,
            "lockout-time: nobody is locked out",
        ),
        (
            "user = [\"a:b\",\n\n\"nobody\"]",
            3,
            "user: not NAME:PASSWORD",
        ),
        (
            "rule = [\"allow\",\n\"deny to=@x\"]",
            2,
            "rule: there is no group \"x\"",
        ),
        ("rule = [\"forbid\"]", 1, "a rule begins with allow or deny"),
        ("limit = [\"user=joe\"]", 1, "it limits nothing"),
        (
            "group = [\"a=/nonexistent\"]",
            1,
            "cannot read /nonexistent",
        ),
        (
            "dns = [\"1.1.1.1\", \"dns.example\"]",
            1,
            "no address of a DNS server",
        ),
        ("log = \"a=b=c\"", 1, "no filter for the log"),
    ] {
        let file = File::new(text);
        let ran = child::run(&["--config", file.name(), "--check"]).await;
        ran.expect_failure(1, &format!("{}:{line}: ", file.name()));
        ran.expect_failure(1, why);
    }
    let none = child::run(&["--config", "/nonexistent/file"]).await;
    none.expect_failure(1, "cannot read /nonexistent/file");
}

#[tokio::test]
async fn no_mistake_shows_a_secret() {
    for text in [
        "user = \"joe:s3cret\"",
        "user = [\"s3cret\"]",
        "user = [\"joe:s3cret\", 5]",
        "grace = \"s3cret\"",
        "upstream = [\"gopher://joe:s3cret@proxy\"]",
        "upstream = [\"joe:s3cret@proxy\"]",
        "route = [\"x://joe:s3cret@proxy\"]",
    ] {
        let file = File::new(text);
        let ran = child::run(&["--config", file.name(), "--check"]).await;
        ran.expect_failure(1, file.name());
        assert!(!ran.stderr.contains("s3cret"), "{ran}");
    }
}

#[tokio::test]
async fn what_is_in_effect_is_printed_as_a_file_without_secrets() {
    let file = File::new(
        "user = [\"joe:s3cret\"]\nupstream = [\"http://a:s3cret@proxy\"]\ngrace = 3\nopen = true",
    );
    let args = ["--config", file.name(), "--grace", "4", "--open=false"];
    let printed = child::run(&[&args[..], &["--print-config"]].concat()).await;
    let printed = String::from_utf8(printed.expect_success()).unwrap();
    for line in [
        "user = [\"joe:***\"]",
        "upstream = [\"http://***@proxy\"]",
        "grace = 4",
        "open = false",
        "idle-timeout = 7440",
        "listen = [\"127.0.0.1:1080\"]",
    ] {
        assert!(printed.lines().any(|it| it == line), "{line}: {printed}");
    }
    assert!(!printed.contains("s3cret"));

    let again = File::new(&printed);
    let again = child::run(&["--config", again.name(), "--print-config"]).await;
    assert_eq!(again.expect_success(), printed.as_bytes());
}

#[tokio::test]
async fn a_flag_takes_the_place_of_the_file_s_key() {
    let origin = Origin::echo(V4).await;
    let file = File::new("listen = [\"192.0.2.1:9\"]\nallow-private = true\nno-http = true");
    let args = ["--listen", "127.0.0.1:0", "--config", file.name()];
    let child = Child::start_as(&args).await;
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"as the flag says").await;

    let denies = [&args[..], &["--allow-private=false"]].concat();
    let child = Child::start_as(&denies).await;
    let denied = socks5(child.addr(), None, origin.addr()).await;
    assert_eq!(denied.unwrap_err(), Refused::Request(2));
}

#[tokio::test]
async fn one_network_may_be_allowed_instead_of_all() {
    let origin = Origin::echo(V4).await;
    for (allow, passes) in [
        ("127.0.0.1", true),
        ("127.0.0.0/8", true),
        ("10.0.0.0/8", false),
    ] {
        let args = ["--allow", "192.168.1.0/24", "--allow", allow];
        let child = Child::start(&args).await;
        let asked = socks5(child.addr(), None, origin.addr()).await;
        assert_eq!(asked.is_ok(), passes, "{allow}");
    }
}

#[tokio::test]
async fn a_rule_keeps_one_user_off_a_network() {
    let origin = Origin::echo(V4).await;
    let group = File::new("# all of it\n127.0.0.0/8\n");
    let rest = format!(
        "allow = [\"127.0.0.0/8\"]\ngroup = [\"here={}\"]\nrule = [\"deny user=joe to=@here\"]",
        group.name()
    );
    let (_file, child) = start(&rest).await;
    let joe = socks5(child.addr(), JOE, origin.addr()).await;
    assert_eq!(joe.unwrap_err(), Refused::Request(2));
    let mut ann = socks5(child.addr(), ANN, origin.addr()).await.unwrap();
    assert_echoes(&mut ann, b"through").await;
}

#[tokio::test]
async fn a_limit_of_one_user_is_for_nobody_else() {
    let origin = Origin::echo(V4).await;
    let limit = "allow-private = true\nlimit = [\"user=joe connections=1\"]";
    let (_file, child) = start(limit).await;
    let first = socks5(child.addr(), JOE, origin.addr()).await.unwrap();
    let second = socks5(child.addr(), JOE, origin.addr()).await;
    assert_eq!(second.unwrap_err(), Refused::HungUp);
    let _ann = socks5(child.addr(), ANN, origin.addr()).await.unwrap();
    let _ann = socks5(child.addr(), ANN, origin.addr()).await.unwrap();

    drop(first);
    let again = async {
        while socks5(child.addr(), JOE, origin.addr()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    patiently("joe's place to be free again", again).await;
}

#[tokio::test]
async fn a_user_s_bandwidth_and_quota_are_kept_to() {
    let origin = Origin::echo(V4).await;
    let rest = "allow-private = true
limit = [\"user=joe up=100kB\", \"user=ann quota=20kB/day\"]";
    let (_file, child) = start(rest).await;

    let mut joe = socks5(child.addr(), JOE, origin.addr()).await.unwrap();
    let began = Instant::now();
    // 10,000 of them at once.
    let (mut read, mut write) = joe.split();
    let sends = async { write.write_all(&[7; 60_000]).await.unwrap() };
    let mut back = vec![0; 60_000];
    let receives = read.read_exact(&mut back);
    let (_, received) = patiently("60 kB", async { tokio::join!(sends, receives) }).await;
    received.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(450));

    let mut ann = socks5(child.addr(), ANN, origin.addr()).await.unwrap();
    let (mut read, mut write) = ann.split();
    let sends = async {
        let _ = write.write_all(&[7; 60_000]).await;
    };
    let mut back = Vec::new();
    let receives = read.read_to_end(&mut back);
    let (_, _) = patiently("20 kB", async { tokio::join!(sends, receives) }).await;
    assert!(back.len() <= 20_000, "{}", back.len());
    let refused = socks5(child.addr(), ANN, origin.addr()).await;
    assert_eq!(refused.unwrap_err(), Refused::Request(2));
}
