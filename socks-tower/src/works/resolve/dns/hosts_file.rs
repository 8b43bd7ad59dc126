//! The system's own list of names.

use std::{
    collections::HashMap,
    fs,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use socks_core::{DomainName, Host};

/// How often it is looked whether the file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

type Names = HashMap<DomainName, Vec<IpAddr>>;

/// `/etc/hosts`, read again when it has changed.
pub(super) struct HostsFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    modified: Option<SystemTime>,
    names: Arc<Names>,
}

impl HostsFile {
    pub(super) fn system() -> Self {
        let path = match std::env::var_os("SystemRoot") {
            Some(root) if cfg!(windows) => {
                PathBuf::from(root).join("System32\\drivers\\etc\\hosts")
            }
            _ => "/etc/hosts".into(),
        };
        Self::at(path)
    }

    pub(super) fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            state: Mutex::default(),
        }
    }

    /// The addresses that it has for `name`.
    pub(super) fn addrs(&self, name: &DomainName) -> Option<Vec<IpAddr>> {
        self.names().get(name).cloned()
    }

    /// The names that it has for `ip`.
    pub(super) fn names_of(&self, ip: IpAddr) -> Vec<DomainName> {
        let names = self.names();
        let of_ip = names.iter().filter(|(_, addrs)| addrs.contains(&ip));
        of_ip.map(|(name, _)| name.clone()).collect()
    }

    fn names(&self) -> Arc<Names> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.looked.is_none_or(|looked| now - looked >= INTERVAL) {
            state.looked = Some(now);
            let modified = fs::metadata(&self.path)
                .and_then(|file| file.modified())
                .ok();
            if modified != state.modified {
                state.modified = modified;
                let text = fs::read(&self.path).unwrap_or_default();
                state.names = Arc::new(parse(&String::from_utf8_lossy(&text)));
            }
        }
        state.names.clone()
    }
}

/// Lines of an address and its names; `#` begins a comment. What is none is passed over,
/// as everybody does.
fn parse(text: &str) -> Names {
    let mut names = Names::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else {
            continue;
        };
        for word in words {
            if let Ok(Host::Name(name)) = Host::parse(word) {
                names.entry(name).or_default().push(ip.to_canonical());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> DomainName {
        DomainName::new(name).unwrap()
    }

    #[test]
    fn it_is_read_as_the_system_does() {
        let names = parse(
            "\u{feff}127.0.0.1\tlocalhost\n\
             # 192.0.2.1 comment.example\n\
             192.0.2.7  db.example db # the database\n\
             2001:db8::7 db.example\n\
             not-an-address bad.example\n\
             192.0.2.8 127.0.0.1\n\
             192.0.2.9\n",
        );
        let addrs = |host: &str| names.get(&name(host)).map(Vec::len);
        assert_eq!(addrs("DB.example."), Some(2));
        assert_eq!(addrs("db"), Some(1));
        assert_eq!(addrs("comment.example"), None);
        assert_eq!(addrs("bad.example"), None);
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn it_is_read_again_when_it_has_changed() {
        let path = std::env::temp_dir().join(format!("socks-hosts-{}", std::process::id()));
        let file = HostsFile::at(&path);
        assert_eq!(file.addrs(&name("db.example")), None);
        fs::write(&path, "192.0.2.7 db.example\n").unwrap();
        // Not before it is time to look.
        assert_eq!(file.addrs(&name("db.example")), None);
        file.state.lock().unwrap().looked = None;
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!(file.addrs(&name("db.example")), Some(vec![ip]));
        assert_eq!(file.names_of(ip), [name("db.example")]);
        fs::remove_file(&path).unwrap();
        file.state.lock().unwrap().looked = None;
        assert_eq!(file.addrs(&name("db.example")), None);
    }
}
