//! Network namespaces: machines for one test, with interfaces, routes and packet
//! filters of their own. They need `unshare`, of util-linux, `ip`, of iproute2, and
//! `nft`, of nftables, so that tests that have one are ignored unless asked for.

use std::{
    env,
    process::{self, Command, Stdio},
    sync::mpsc,
    thread,
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::gettid,
};

const INSIDE: &str = "SOCKS_TESTS_NAMESPACE";

/// Whether this is a network namespace of `test`'s own, in which loopback is up. If
/// it is not, it has run that test in one, and the caller has nothing more to do.
#[must_use]
pub fn is_inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return true;
    }
    let mut own = as_root_of_nothing();
    own.args(["--net", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(INSIDE, "1");
    let ran = own.status();
    assert!(ran.expect("unshare is installed").success());
    false
}

/// `unshare`, to run a program as root of a user namespace: over what belongs to the
/// machine it has no rights.
#[must_use]
pub fn as_root_of_nothing() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--map-root-user");
    command
}

/// Runs `ip`, in the namespace of this thread.
pub fn ip(args: &str) {
    let ran = Command::new("ip").args(args.split(' ')).status();
    assert!(ran.expect("ip is installed").success(), "ip {args}");
}

/// Runs `nft`, in the namespace of this thread; gives what it says.
pub fn nft(args: &str) -> String {
    let ran = Command::new("nft")
        .args(args.split(' '))
        .stderr(Stdio::inherit())
        .output();
    let ran = ran.expect("nft is installed");
    assert!(ran.status.success(), "nft {args}");
    String::from_utf8(ran.stdout).unwrap()
}

/// Runs `setup` in a namespace next to this one, to which it is joined by each of
/// `links`, here and there. It lasts as long as the sockets that `setup` opens.
pub fn neighbour<T: Send>(links: &[(&str, &str)], setup: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let (made, namespace) = mpsc::channel();
        let (joined, go) = mpsc::channel();
        let there = scope.spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let thread = format!("/proc/{}/task/{}/ns/net", process::id(), gettid());
            made.send(thread).unwrap();
            go.recv().unwrap();
            ip("link set lo up");
            setup()
        });
        let namespace = namespace.recv().unwrap();
        for (here, there) in links {
            ip(&format!("link add {here} type veth peer name {there}"));
            ip(&format!("link set {there} netns {namespace}"));
            ip(&format!("link set {here} up"));
        }
        joined.send(()).unwrap();
        there.join().unwrap()
    })
}
