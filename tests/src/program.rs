//! Other people's programs.
//!
//! Tests that need one are ignored unless asked for, and fail if it is missing.

use std::{
    io,
    process::{Output, Stdio},
};

use tokio::process::Command;

use crate::patiently;

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// What it was.
    pub command: String,
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Ran {
    /// Checks that it succeeded, and returns what it wrote.
    #[must_use]
    pub fn expect_success(self) -> Vec<u8> {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// Checks that it failed with the exit code `code`, and that `message`
    /// stands in its standard error.
    pub fn expect_failure(&self, code: i32, message: &str) {
        assert_eq!(self.code, Some(code), "{self}");
        assert!(
            self.stderr.contains(message),
            "{message:?} is not in: {self}"
        );
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            code,
            stderr,
            stdout,
        } = self;
        let len = stdout.len();
        write!(
            f,
            "{command}\nexit code {code:?}, {len} bytes of output, and:\n{stderr}"
        )
    }
}

/// Runs `program` to its end, without input. Dropping the future kills it.
/// `package` is Debian's package that has it.
pub async fn run(program: &str, package: &str, args: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(args);
    run_command(command, package).await
}

/// As [`run`], of a command that is set up already.
pub async fn run_command(mut command: Command, package: &str) -> Ran {
    let name = format!("{:?}", command.as_std());
    let program = command.as_std().get_program().to_owned();
    command.kill_on_drop(true).stdin(Stdio::null());
    // The environment's proxies are not what these tests are about.
    for name in ["all_proxy", "http_proxy", "https_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let Output {
        status,
        stdout,
        stderr,
    } = match patiently(&name, command.output()).await {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            panic!("{program:?} is not installed: apt-get install {package}")
        }
        Err(error) => panic!("{name}: {error}"),
    };
    Ran {
        command: name,
        code: status.code(),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}
