//! Names of hosts and domains, found by a name.

use std::collections::HashMap;

use socks_core::DomainName;

use super::values::{Numbers, Value};

#[derive(Clone, Debug)]
pub(crate) enum HostName {
    Exact(DomainName),
    Within(DomainName),
}

/// `*.example.com` is how many write a domain.
fn without_star(domain: &DomainName) -> &str {
    let domain = domain.as_str();
    domain.strip_prefix("*.").unwrap_or(domain)
}

impl Value for HostName {
    /// In lower case without a trailing dot. A domain begins with a dot, which
    /// no host does.
    type Key = Box<[u8]>;
    type Asked = DomainName;
    type Table = NameTable;

    fn key(&self) -> Box<[u8]> {
        let (dot, name) = match self {
            Self::Exact(host) => ("", host.as_str()),
            Self::Within(domain) => (".", without_star(domain)),
        };
        let stem = name.strip_suffix('.').unwrap_or(name);
        let key = [dot, stem].concat().to_ascii_lowercase();
        key.into_bytes().into()
    }

    fn holds(&self, asked: &DomainName) -> bool {
        match self {
            Self::Exact(host) => asked == host,
            Self::Within(domain) => asked.is_within(without_star(domain)),
        }
    }

    fn find<'a>(
        table: &'a NameTable,
        asked: &DomainName,
    ) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        let asked = Asked::new(asked);
        let host = table.hosts.get(asked.host());
        let mut begin = Some(0);
        let domains = std::iter::from_fn(move || {
            let domain = asked.domain(begin?)?;
            let behind = domain.get(1..)?.iter().position(|byte| *byte == b'.');
            begin = behind.and_then(|behind| begin?.checked_add(behind)?.checked_add(1));
            Some(table.domains.get(domain))
        });
        std::iter::once(host).chain(domains).flatten()
    }
}

#[derive(Debug, Default)]
pub(crate) struct NameTable {
    hosts: Lookup,
    domains: Lookup,
}

#[derive(Debug, Default)]
struct Lookup {
    numbers: HashMap<Box<[u8]>, Numbers>,
    /// Longer ones are not looked up: what a client can make it cost is little.
    longest: usize,
}

impl Lookup {
    fn insert(&mut self, key: Box<[u8]>, numbers: Numbers) {
        self.longest = self.longest.max(key.len());
        self.numbers.insert(key, numbers);
    }

    fn get(&self, key: &[u8]) -> Option<&[u32]> {
        if key.len() > self.longest {
            return None;
        }
        self.numbers.get(key).map(Numbers::as_slice)
    }
}

impl From<HashMap<Box<[u8]>, Numbers>> for NameTable {
    fn from(names: HashMap<Box<[u8]>, Numbers>) -> Self {
        let mut table = Self::default();
        for (key, numbers) in names {
            match key.first() {
                Some(b'.') => table.domains.insert(key, numbers),
                _ => table.hosts.insert(key, numbers),
            }
        }
        table
    }
}

/// A name as keys have it, behind a dot.
struct Asked {
    text: [u8; DomainName::MAX_LEN + 1],
    len: usize,
}

impl Asked {
    fn new(name: &DomainName) -> Self {
        let name = name.as_str();
        let stem = name.strip_suffix('.').unwrap_or(name).as_bytes();
        let mut text = [b'.'; DomainName::MAX_LEN + 1];
        for (lower, byte) in text.iter_mut().skip(1).zip(stem) {
            *lower = byte.to_ascii_lowercase();
        }
        let len = stem.len().saturating_add(1);
        Self { text, len }
    }

    fn host(&self) -> &[u8] {
        self.text.get(1..self.len).unwrap_or_default()
    }

    /// The domain that `begin` is the dot of.
    fn domain(&self, begin: usize) -> Option<&[u8]> {
        self.text.get(begin..self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[HostName], asked: &str) -> Vec<u32> {
        let mut filed = HashMap::<_, Numbers>::new();
        for (number, name) in (0..).zip(names) {
            filed.entry(name.key()).or_default().push(number);
        }
        let table = NameTable::from(filed);
        let asked = asked.parse().unwrap();
        let mut found: Vec<_> = HostName::find(&table, &asked).flatten().copied().collect();
        found.sort_unstable();
        found
    }

    fn host(name: &str) -> HostName {
        HostName::Exact(name.parse().unwrap())
    }

    fn domain(name: &str) -> HostName {
        HostName::Within(name.parse().unwrap())
    }

    #[test]
    fn a_name_finds_itself_and_the_domains_that_it_is_in() {
        let names = [
            host("example.com"),
            domain("Example.COM."),
            domain("*.example.com"),
            domain("com"),
            host("www.example.com."),
            domain("ample.com"),
        ];
        for (asked, numbers) in [
            ("example.com", &[0, 1, 2, 3][..]),
            ("EXAMPLE.com.", &[0, 1, 2, 3]),
            ("www.example.com", &[1, 2, 3, 4]),
            ("a.www.example.com", &[1, 2, 3]),
            ("badexample.com", &[3]),
            ("com", &[3]),
            ("example.org", &[]),
        ] {
            assert_eq!(found(&names, asked), numbers, "{asked}");
        }
    }

    #[test]
    fn the_longest_name_finds_its_domains() {
        let label = "a".repeat(63);
        let long = [&*label; 4].join(".");
        assert_eq!(long.len(), DomainName::MAX_LEN);
        let names = [host(&long), domain(&long), domain(&label), domain("b")];
        assert_eq!(found(&names, &long), [0, 1, 2]);
        let many = format!("{}B", "a.".repeat(127));
        assert_eq!(many.len(), DomainName::MAX_LEN);
        assert_eq!(
            found(&[host(&many), domain("b"), domain("a.b")], &many),
            [0, 1, 2]
        );
    }
}
