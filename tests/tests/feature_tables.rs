//! The tables of features say the same, and leave none out.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap()
}

/// A table's rows: a feature, whether it is on by default, and what it is.
fn rows(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.trim_start_matches("//! "));
    let is_row = |line: &&str| {
        let second = line.split(" | ").nth(1);
        line.starts_with("| `") && matches!(second, Some("yes" | "no"))
    };
    lines.filter(is_row).collect()
}

fn quoted(text: &str, quote: char) -> BTreeSet<String> {
    let odd = text.split(quote).skip(1).step_by(2);
    odd.map(str::to_owned).collect()
}

#[test]
fn the_readme_and_the_front_page_have_every_feature_in_the_same_words() {
    let (readme, page) = (read("README.md"), read("socks-tower/src/lib.rs"));
    assert_eq!(rows(&readme), rows(&page));

    let manifest = read("socks-tower/Cargo.toml");
    let (_, features) = manifest.split_once("[features]\n").unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let name = |line: &str| {
        let (name, _) = line.split_once(" = [")?;
        Some(name.to_owned())
    };
    let mut expected: BTreeSet<_> = features.lines().filter_map(name).collect();
    assert!(expected.remove("default"));
    let told = rows(&page)
        .iter()
        .flat_map(|row| quoted(row.split(" | ").next().unwrap(), '`'))
        .collect();
    assert_eq!(expected, told);

    let (_, full) = features.split_once("full = [").unwrap();
    let (full, _) = full.split_once(']').unwrap();
    for beside in ["full", "gssapi", "test-util"] {
        assert!(expected.remove(beside));
    }
    assert_eq!(expected, quoted(full, '"'));
}

/// A module's page is there with its feature alone: whoever reads it must hear that
/// from it, since only docs.rs says so by itself.
#[test]
fn the_page_of_a_feature_names_it() {
    let mut pages = 0;
    for folder in ["middleware", "front", "stages", "works"] {
        let folder = format!("socks-tower/src/{folder}");
        let parent = read(&format!("{folder}/mod.rs"));
        for gated in parent.split("#[cfg(feature = \"").skip(1) {
            let (feature, rest) = gated.split_once("\")]\n").unwrap();
            let line = rest.lines().next().unwrap();
            let Some(name) = line.strip_prefix("pub mod ") else {
                continue;
            };
            let page = read(&format!("{folder}/{}/mod.rs", name.trim_end_matches(';')));
            let mut docs = page.lines().filter(|line| line.starts_with("//!"));
            let told = docs.any(|line| line.contains(&format!("`{feature}`")));
            assert!(
                told,
                "{folder}: {line} comes with {feature}, and its page does not say so"
            );
            pages += 1;
        }
    }
    assert!(pages > 10, "{pages}");
}
