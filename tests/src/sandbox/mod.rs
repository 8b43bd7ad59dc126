//! A sandbox that refuses system calls, as seccomp profiles, gVisor and small
//! kernels do. Linux only.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Runs `program` in the sandbox, where each of `rules` refuses a system call:
/// `CALL[,ARG=VALUE...]:ERRNO[:SKIP[:TIMES]]` in numbers, as `refuse.c` says.
///
/// The program has the process that this starts.
#[must_use]
pub fn refusing(rules: &[&str], program: &Path) -> Command {
    let mut command = Command::new(refuse());
    command.args(rules).arg("--").arg(program);
    command
}

/// A library to preload (`LD_PRELOAD`): the kernel does not know `UDP_SEGMENT`,
/// and passes over it in silence.
pub fn without_segments() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| compiled("uncut", &["-shared", "-fPIC"]))
}

/// A library to preload (`LD_PRELOAD`): SIGPIPE ends the program.
pub fn with_sigpipe() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| compiled("mortal", &["-shared", "-fPIC"]))
}

/// The sandbox, compiled once by this machine's `cc`.
fn refuse() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| compiled("refuse", &[]))
}

/// Compiles `name.c` beside this file.
fn compiled(name: &str, options: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/sandbox/{name}.c"));
    // Tests of several processes compile it at once: each its own, then moved.
    let test = env::current_exe().unwrap();
    let path = test.with_file_name(name);
    let own = test.with_file_name(format!("{name}-{}", std::process::id()));
    let compiled = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror"])
        .args(options)
        .arg("-o")
        .args([&own, &source])
        .arg("-ldl")
        .status();
    assert!(compiled.expect("cc is there").success(), "{source:?}");
    fs::rename(&own, &path).unwrap();
    path
}
