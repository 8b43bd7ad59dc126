//! The file: what it says, and on which line.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use clap::Args;
use toml::de::{DeTable, DeValue};

use super::{Config, said::Lines};

impl Config {
    /// Reads a file. Errors are `FILE:LINE: what was expected`, and show no value: it may
    /// be a secret.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            format!("cannot read {name}: {error}; --config names the file, and this user has to be able to read it")
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| line(&text, span.start));
            let key = lines(path, &text).key(line).map(|key| format!("{key}: "));
            let key = key.unwrap_or_default();
            format!("{name}:{line}: {key}{}", explained(error.message()))
        })?;
        config.said.file = Some(Arc::new(lines(path, &text)));
        Ok(config)
    }
}

/// Where everything is in a text that has been read already.
fn lines(path: &Path, text: &str) -> Lines {
    let mut keys = HashMap::new();
    let mut members = HashMap::new();
    let table = DeTable::parse(text);
    for (key, value) in table.iter().flat_map(|table| table.get_ref().iter()) {
        let name = key.get_ref().to_string();
        if let DeValue::Array(array) = value.get_ref() {
            for (number, member) in array.iter().enumerate() {
                let line = line(text, member.span().start);
                members.insert((name.clone(), number), line);
            }
        }
        keys.insert(name, line(text, key.span().start));
    }
    Lines {
        file: path.to_owned(),
        keys,
        members,
    }
}

impl Lines {
    /// The key that a line belongs to.
    fn key(&self, line: usize) -> Option<&str> {
        let before = self.keys.iter().filter(|(_, at)| **at <= line);
        let (key, _) = before.max_by_key(|(_, at)| **at)?;
        Some(key)
    }
}

/// The line of a byte, from 1.
fn line(text: &str, at: usize) -> usize {
    let before = text.bytes().take(at);
    before
        .filter(|&byte| byte == b'\n')
        .count()
        .saturating_add(1)
}

/// What serde says of a mistake, in words of ours.
fn explained(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let key = rest.split('`').next().unwrap_or_default();
        return match nearest(key) {
            Some(meant) => format!("there is no such key; {meant} is one"),
            None => "there is no such key; --help lists them, as flags".to_owned(),
        };
    }
    // In between is the value.
    let wrong = ["invalid type: ", "invalid value: "];
    if wrong.iter().any(|start| message.starts_with(start))
        && let Some((_, expected)) = message.rsplit_once(", expected ")
    {
        return match expected {
            "a sequence" => r#"expected a list, as ["one", "another"] is"#.to_owned(),
            "u64" | "usize" | "u32" => "expected a number that is not negative".to_owned(),
            "a boolean" => "expected true or false".to_owned(),
            "a string" => r#"expected a text, as "this" is"#.to_owned(),
            number if number.starts_with("a nonzero") => "expected a number, 1 or more".to_owned(),
            expected => format!("expected {expected}"),
        };
    }
    message.trim_end().replace('\n', "; ")
}

/// The key that `key` is nearly.
fn nearest(key: &str) -> Option<String> {
    let keys = Config::augment_args(clap::Command::new(""));
    let keys = keys.get_arguments().filter_map(|arg| arg.get_long());
    let by_likeness = keys.map(|it| (strsim::jaro_winkler(it, key), it));
    let (likeness, meant) = by_likeness.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (likeness > 0.8).then(|| meant.to_owned())
}
