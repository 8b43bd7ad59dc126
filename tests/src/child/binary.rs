//! Where the built program is.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

/// The path of `socks-proxy`, built from the sources as they are now.
///
/// It stands beside the test's own executable: `cargo test --workspace` has put
/// it there, and `cargo build` with the same profile is asked for it if it is
/// missing or older than what it is made of.
pub fn path() -> &'static Path {
    // A build that failed is not tried again by each test.
    static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        // target/PROFILE/deps/TEST-HASH
        let test = env::current_exe().unwrap();
        let dir = test.ancestors().nth(2).expect("a test is in target/*/deps");
        let binary = dir.join("socks-proxy");
        if !is_fresh(&binary) {
            build(dir)?;
            assert!(binary.exists(), "cargo put it elsewhere than {binary:?}");
        }
        Ok(binary)
    });
    path.as_ref().expect("socks-proxy can be built")
}

/// Whether `binary` is younger than all that it was built from, which cargo
/// lists beside it as `make` would: `binary: source source`.
fn is_fresh(binary: &Path) -> bool {
    let Some(built) = modified(binary) else {
        return false;
    };
    let Ok(list) = fs::read_to_string(binary.with_extension("d")) else {
        return false;
    };
    let mut sources = list.split_whitespace().skip(1).peekable();
    sources.peek().is_some()
        && sources.all(|source| modified(Path::new(source)).is_some_and(|time| time <= built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn build(dir: &Path) -> Result<(), String> {
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("{dir:?} has no name"),
    };
    let target = dir.parent().expect("a profile is in target");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "socks-proxy"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    match status.success() {
        true => Ok(()),
        false => Err(format!("cargo build: {status}")),
    }
}
