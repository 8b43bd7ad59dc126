//! The log in a file, which others move away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use socks_tests::{PATIENCE, child::Child, client::socks5, origin::ClosedPort};
use tokio::time::{Instant, sleep};

/// Where a log is to be, and is not yet.
fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

/// Waits until `holds` holds of what is in the file.
async fn wait(path: &Path, holds: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if path.exists() && holds(&text) {
            return;
        }
        assert!(Instant::now() < deadline, "{path:?}: {text}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
    let target = ClosedPort::new();
    for signal in [Signal::USR1, Signal::HUP] {
        let (log, moved) = (path("moved.log"), path("moved.log.1"));
        let file = log.to_str().unwrap();
        let args = [
            "--allow-private",
            "--log-file",
            file,
            "--log",
            "socks::access=info",
        ];
        let child = Child::start(&args).await;
        let session = async || drop(socks5(child.addr(), None, target.addr()).await);
        session().await;
        wait(&log, |text| text.lines().count() == 1).await;

        fs::rename(&log, &moved).unwrap();
        session().await;
        wait(&moved, |text| text.lines().count() == 2).await;
        // At once, and not with the next line.
        child.signal(signal);
        wait(&log, str::is_empty).await;
        session().await;
        wait(&log, |text| text.lines().count() == 1).await;
        let (_, said) = {
            child.terminate();
            child.wait().await
        };
        assert_eq!(said, "");
        assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 2);
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_again_goes_on_and_says_so() {
    let dir = path("gone");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let (log, moved) = (dir.join("log"), path("gone.log"));
    let child = Child::start(&["--log-file", log.to_str().unwrap()]).await;
    fs::rename(&log, &moved).unwrap();
    fs::remove_dir(&dir).unwrap();
    child.signal(Signal::USR1);
    wait(&moved, |text| text.contains("not opened: No such file")).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_at_all_is_an_error_of_the_start() {
    let log = path("nowhere").join("log");
    let ran = socks_tests::child::run(&["--log-file", log.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(1));
    let expected = format!("--log-file: cannot write {}: No such file", log.display());
    assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
}
