//! SIGHUP.

use rustix::process::Signal;
use socks_tests::{
    child::Child,
    client::{Login, Refused, assert_echoes, socks5},
    descriptors,
    origin::{Origin, V4},
};

use crate::file::File;

const JOE: Option<Login<'_>> = Some(("joe", "s3cret"));
const ANN: Option<Login<'_>> = Some(("ann", "pa55"));

const BEGIN: &str = "listen = [\"127.0.0.1:0\"]\nlog = \"warn,socks_proxy=info\"\n";

/// Reloads, and waits until that is done.
async fn reload(child: &Child) {
    let before = child.log().len();
    child.signal(Signal::HUP);
    let again = async {
        while !child.log()[before..].contains("reloaded") {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    socks_tests::patiently("a reload", again).await;
}

#[tokio::test]
async fn users_rules_and_limits_change_and_no_tunnel_ends() {
    let origin = Origin::echo(V4).await;
    for runtime in ["per-thread", "shared"] {
        let file = File::new(&format!(
            "{BEGIN}user = [\"joe:s3cret\"]\nallow-private = true"
        ));
        let child = Child::start_as(&["--config", file.name(), "--runtime", runtime]).await;
        let mut joe = socks5(child.addr(), JOE, origin.addr()).await.unwrap();
        let ann = socks5(child.addr(), ANN, origin.addr()).await;
        assert_eq!(ann.unwrap_err(), Refused::Password);

        file.write(&format!(
            "{BEGIN}user = [\"ann:pa55\"]\nallow-private = true\nlimit = [\"connections=1\"]"
        ));
        reload(&child).await;
        // As many as there are threads, each of which waited with the old stack.
        for _ in 0..8 {
            let gone = socks5(child.addr(), JOE, origin.addr()).await;
            assert_eq!(gone.unwrap_err(), Refused::Password);
        }
        let mut ann = socks5(child.addr(), ANN, origin.addr()).await.unwrap();
        let second = socks5(child.addr(), ANN, origin.addr()).await;
        assert_eq!(second.unwrap_err(), Refused::HungUp);

        file.write(&format!(
            "{BEGIN}user = [\"ann:pa55\"]\nlimit = [\"connections=1\"]"
        ));
        reload(&child).await;
        let over = socks5(child.addr(), ANN, origin.addr()).await;
        assert_eq!(over.unwrap_err(), Refused::HungUp, "the limit counts on");
        assert_echoes(&mut joe, b"a user who is gone stays in").await;
        assert_echoes(&mut ann, b"and what is denied now goes on").await;
    }
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_the_log_says_why() {
    let origin = Origin::echo(V4).await;
    let good = format!("{BEGIN}user = [\"joe:s3cret\"]\nallow-private = true");
    let file = File::new(&good);
    let child = Child::start_as(&["--config", file.name()]).await;
    for (wrong, why) in [
        (
            "user = [\"joe:other\"]\nfrobnicate = 1",
            "frobnicate: there is no such key",
        ),
        (
            "user = [\"joe:other\"]\nrule = [\"deny to=@x\"]",
            "there is no group",
        ),
        (
            "user = [\"joe:other\"]\nsource = [\"192.0.2.1\"]",
            "cannot bind to 192.0.2.1",
        ),
        ("user = [\"joe:other\"]\nlog = \"a=b=c\"", "is no filter"),
        ("users = \"/nonexistent\"", "cannot read /nonexistent"),
    ] {
        file.write(wrong);
        reload(&child).await;
        child.wait_for_log(why).await;
        let mut joe = socks5(child.addr(), JOE, origin.addr()).await.unwrap();
        assert_echoes(&mut joe, b"as before").await;
    }
    assert!(!child.log().contains("other"), "{}", child.log());
}

#[tokio::test]
async fn what_needs_a_restart_is_said_by_its_key() {
    let file = File::new(BEGIN);
    let child = Child::start_as(&["--config", file.name()]).await;
    file.write("log = \"warn,socks_proxy=info\"\nthreads = 1");
    reload(&child).await;
    let log = child.log();
    for key in ["listen", "threads"] {
        let line = log
            .lines()
            .find(|line| line.contains(&format!("key=\"{key}\"")));
        assert!(
            line.is_some_and(|line| line.contains("needs a restart")),
            "{log}"
        );
    }
    assert_eq!(log.matches("needs a restart").count(), 2, "{log}");
}

#[tokio::test]
async fn without_a_file_the_users_are_read_anew() {
    let origin = Origin::echo(V4).await;
    let users = File::new("joe:s3cret\n");
    let child = Child::start(&["--allow-private", "--log=info", "--users", users.name()]).await;
    users.write("ann:pa55\n");
    reload(&child).await;
    let joe = socks5(child.addr(), JOE, origin.addr()).await;
    assert_eq!(joe.unwrap_err(), Refused::Password);
    assert!(socks5(child.addr(), ANN, origin.addr()).await.is_ok());
}

#[tokio::test]
async fn the_log_s_level_changes() {
    let origin = Origin::echo(V4).await;
    let file = File::new(&format!("{BEGIN}allow-private = true"));
    let child = Child::start_as(&["--config", file.name()]).await;
    drop(socks5(child.addr(), None, origin.addr()).await.unwrap());
    file.write("allow-private = true\nlog = \"info\"");
    reload(&child).await;
    assert!(!child.log().contains("socks::access"), "{}", child.log());
    drop(socks5(child.addr(), None, origin.addr()).await.unwrap());
    child.wait_for_log("socks::access").await;
}

/// Resident memory of a process, in kB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.unwrap().trim().trim_end_matches(" kB");
    kb.parse().unwrap()
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_thousand_reloads_good_and_bad_drop_no_tunnel_and_leak_nothing() {
    let origin = Origin::echo(V4).await;
    let good = |user: &str| {
        let limits = "limit = [\"connections=500\", \"bandwidth=1GB\"]\nrule = [\"deny port=25\"]";
        format!("{BEGIN}user = [\"{user}\"]\nallow-private = true\n{limits}")
    };
    let file = File::new(&good("joe:s3cret"));
    let args = ["--config", file.name(), "--threads", "2"];
    let child = Child::start_as(&args).await;
    let mut standing = Vec::new();
    for _ in 0..20 {
        standing.push(socks5(child.addr(), JOE, origin.addr()).await.unwrap());
    }
    let mut held = None;
    for round in 0..1000 {
        match round % 2 {
            0 => file.write(&good("joe:s3cret")),
            _ => file.write(&format!("{BEGIN}user = [\"joe:s3cret\", \"wrong\"]")),
        }
        reload(&child).await;
        let mut tunnel = socks5(child.addr(), JOE, origin.addr()).await.unwrap();
        assert_echoes(&mut tunnel, b"new").await;
        let number = round % standing.len();
        assert_echoes(&mut standing[number], b"old").await;
        if round == 200 {
            drop(tunnel);
            held = Some((descriptors::of(child.pid()), memory(child.pid())));
        }
    }
    for tunnel in &mut standing {
        assert_echoes(tunnel, b"still").await;
    }
    let (descriptors, kb) = held.unwrap();
    let now = memory(child.pid());
    assert!(now < kb + 2048, "{kb} kB and then {now} kB");
    // The last tunnel of the measurement was about to be closed.
    descriptors::settle(child.pid(), descriptors - 2).await;
}
