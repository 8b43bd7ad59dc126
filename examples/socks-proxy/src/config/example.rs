//! The commented file beside the README has every key.

use std::collections::BTreeSet;

use clap::Args;

use super::Config;

const EXAMPLE: &str = include_str!("../../socks-proxy.toml");

/// The file with all that it has as examples said.
fn uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|it: char| it.is_ascii_lowercase()) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn it_says_nothing_as_it_is_and_parses_with_all_of_it() {
    assert_eq!(
        toml::from_str::<toml::Table>(EXAMPLE),
        Ok(toml::Table::new())
    );
    toml::from_str::<Config>(&uncommented()).map(drop).unwrap();
}

#[test]
fn every_key_is_in_it_with_its_default() {
    let example: toml::Table = uncommented().parse().unwrap();
    let keys = Config::augment_args(clap::Command::new(""));
    let keys: BTreeSet<_> = keys
        .get_arguments()
        .filter_map(|it| it.get_long())
        .collect();
    let said: BTreeSet<_> = example.keys().map(String::as_str).collect();
    assert_eq!(keys, said);

    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for (key, default) in defaults
        .iter()
        .filter(|(key, it)| !it.is_array() && *key != "runtime")
    {
        assert_eq!(example.get(key), Some(default), "{key}");
    }
}
