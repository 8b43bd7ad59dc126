//! What the pages for operators say is good.

use std::{env, fs, path::Path};

use socks_tests::{child, program};
use tokio::process::Command;

fn page(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/socks-proxy");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// A folder of its own, with a file of users.
fn folder(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("users"), "joe:s3cret\nsue:pa55\n").unwrap();
    folder
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn set_ups_of_other_programs_are_translated_to_good_ones() {
    let page = page("COMING-FROM.md");
    // The last cell of each row.
    let cells = page.lines().filter_map(|line| line.strip_suffix("` |"));
    let commands = cells.filter_map(|row| row.rsplit_once("| `").map(|(_, command)| command));
    let mut tried = 0;
    for command in commands {
        let options = command.strip_prefix("socks-proxy").expect(command);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$0\"{options} --check")]);
        shell.arg(child::path()).current_dir(folder("translated"));
        let ran = program::run_command(shell, "dash").await;
        assert_eq!(ran.code, Some(0), "{command}: {ran}");
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}

#[tokio::test]
async fn the_file_of_the_first_steps_is_good() {
    let readme = page("README.md");
    let (_, file) = readme.split_once("```toml\n").unwrap();
    let (file, _) = file.split_once("```").unwrap();
    let folder = folder("first-steps");
    fs::write(folder.join("socks-proxy.toml"), file).unwrap();
    let mut check = Command::new(child::path());
    check
        .args(["--config", "socks-proxy.toml", "--check"])
        .current_dir(folder);
    let ran = program::run_command(check, "nothing").await;
    assert_eq!(ran.code, Some(0), "{ran}");
}
