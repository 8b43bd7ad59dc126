//! Groups of networks and names.

use std::{collections::HashMap, fs, str::FromStr};

use socks_tower::Group;

use super::words::Fault;
use crate::config::Config;

/// `NAME=ENTRY,ENTRY`: networks, addresses, hosts, `*.domains`, and files of such.
#[derive(Clone)]
pub struct NamedGroup {
    name: String,
    entries: Vec<String>,
}

impl FromStr for NamedGroup {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (name, entries) = text.split_once('=').ok_or("not NAME=ENTRY,ENTRY…")?;
        if name.is_empty() || name.contains(|it: char| it.is_whitespace() || it == ',') {
            return Err(format!("{name:?} is no name of a group").into());
        }
        let entries: Vec<_> = entries.split(',').map(|it| it.trim().to_owned()).collect();
        for entry in entries.iter().filter(|entry| !is_file(entry)) {
            inline(entry, entry)?;
        }
        Ok(Self {
            name: name.to_owned(),
            entries,
        })
    }
}

impl NamedGroup {
    fn read(&self) -> Result<Group, Fault> {
        let mut lines = String::new();
        for entry in &self.entries {
            if is_file(entry) {
                let text = fs::read_to_string(entry)
                    .map_err(|error| format!("cannot read {entry}: {error}"))?;
                // Its lines are counted from its own first, in errors.
                Group::parse(entry.as_str(), &text)?;
                lines += text.strip_prefix('\u{feff}').unwrap_or(&text);
            } else {
                lines += entry;
            }
            lines.push('\n');
        }
        Ok(Group::parse(self.name.as_str(), &lines)?)
    }
}

fn is_file(entry: &str) -> bool {
    entry.starts_with('/') || entry.starts_with("./")
}

/// A group of one entry.
pub(super) fn inline(name: &str, entry: &str) -> Result<Group, Fault> {
    let group = Group::parse(name, entry)
        .ok()
        .filter(|group| !group.is_empty());
    group.ok_or_else(|| format!("{entry:?} is no network, address, host or *.domain").into())
}

/// All groups of a configuration, by name.
#[derive(Default)]
pub struct Groups(HashMap<String, Group>);

impl Groups {
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut all = HashMap::new();
        for (number, named) in config.group.iter().enumerate() {
            let at = config.said.member("group", number);
            let group = named.read().map_err(|error| format!("{at}: {error}"))?;
            if all.insert(named.name.clone(), group).is_some() {
                return Err(format!("{at}: there are two groups {:?}", named.name));
            }
        }
        Ok(Self(all))
    }
}

/// A group by its name, or an entry as it stands.
#[derive(Clone)]
pub enum Member {
    Named(String),
    Inline(Group),
}

impl FromStr for Member {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        match text.strip_prefix('@') {
            Some(name) => Ok(Self::Named(name.to_owned())),
            None => inline(text, text).map(Self::Inline),
        }
    }
}

impl Member {
    pub fn group<'a>(&'a self, groups: &'a Groups) -> Result<&'a Group, String> {
        match self {
            Self::Inline(group) => Ok(group),
            Self::Named(name) => groups.0.get(name).ok_or_else(|| {
                format!(
                    "there is no group {name:?}: say group = [\"{name}=192.0.2.0/24\"], or --group"
                )
            }),
        }
    }
}
