//! Wrong stacks do not compile.
//!
//! What the compiler says of them is compared where
//! `SOCKS_TOWER_COMPARE_DIAGNOSTICS` is set, since it changes with the
//! compiler. Elsewhere it is enough that each case fails to compile.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const CASES: &str = "tests/compile_fail";
const COMPARE: &str = "SOCKS_TOWER_COMPARE_DIAGNOSTICS";
/// trybuild's own variable: take whatever the compiler says.
const UPDATE: (&str, &str) = ("TRYBUILD", "overwrite");

#[test]
fn wrong_stacks_do_not_compile() {
    if env::var_os(COMPARE).is_some() {
        trybuild::TestCases::new().compile_fail(format!("{CASES}/*.rs"));
    } else if env::var_os(UPDATE.0).is_some() {
        trybuild::TestCases::new().compile_fail(copies().join("*.rs"));
    } else {
        // A variable is set for a new process alone, so start one.
        copy_cases();
        let output = Command::new(env::current_exe().unwrap())
            .arg("wrong_stacks_do_not_compile")
            .env(UPDATE.0, UPDATE.1)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "a wrong stack compiles:\n{said}");
    }
}

/// Where the compiler's words may be written down.
fn copies() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail")
}

fn copy_cases() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join(CASES);
    let _ = fs::remove_dir_all(copies());
    fs::create_dir_all(copies()).unwrap();
    let mut copied = 0;
    for case in fs::read_dir(cases).unwrap() {
        let case = case.unwrap().path();
        if case.extension().is_some_and(|extension| extension == "rs") {
            fs::copy(&case, copies().join(case.file_name().unwrap())).unwrap();
            copied += 1;
        }
    }
    assert!(copied > 0, "no cases");
}
