//! Where a key was said, for whoever reads that it is wrong.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::PathBuf,
    sync::Arc,
};

/// By a flag, in a file, or nowhere.
#[derive(Clone, Default)]
pub struct Said {
    pub(super) file: Option<Arc<Lines>>,
    pub(super) flags: HashSet<String>,
}

/// On which line of a file each key is, from 1; and each member of a list.
pub(super) struct Lines {
    pub(super) file: PathBuf,
    pub(super) keys: HashMap<String, usize>,
    pub(super) members: HashMap<(String, usize), usize>,
}

/// A key, where it was said: `--users`, or `proxy.toml:7: users`.
pub struct At<'a> {
    said: &'a Said,
    key: &'a str,
    /// Of a list, from 0.
    member: Option<usize>,
}

impl Said {
    pub fn at<'a>(&'a self, key: &'a str) -> At<'a> {
        At {
            said: self,
            key,
            member: None,
        }
    }

    /// A member of a list, from 0.
    pub fn member<'a>(&'a self, key: &'a str, member: usize) -> At<'a> {
        At {
            member: Some(member),
            ..self.at(key)
        }
    }
}

impl At<'_> {
    fn line(&self) -> Option<(&Lines, usize)> {
        let lines = self.said.file.as_deref()?;
        if self.said.flags.contains(self.key) {
            return None;
        }
        let of_member = |member| lines.members.get(&(self.key.to_owned(), member));
        let line = self.member.and_then(of_member);
        let line = line.or_else(|| lines.keys.get(self.key))?;
        Some((lines, *line))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, member, .. } = self;
        match (self.line(), member) {
            (Some((lines, line)), _) => write!(f, "{}:{line}: {key}", lines.file.display()),
            (None, Some(member)) => write!(f, "--{key} (number {})", member.saturating_add(1)),
            (None, None) => write!(f, "--{key}"),
        }
    }
}
