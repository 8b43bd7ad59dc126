use std::{
    collections::HashMap,
    fmt,
    fs::{File, Metadata},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use socks_core::{Password, Username};

use super::{BadLine, LineError, PasswordFileError, hash::Hash};
use crate::stages::authenticate::UsersError;

/// Users of whom hashes are known, and not passwords: what
/// [`VerifyPasswords`](super::VerifyPasswords) goes by. An empty list lets nobody in.
///
/// ```
/// use socks_tower::HashedUsers;
///
/// let users = HashedUsers::parse(
///     "# made by htpasswd and by mkpasswd\n\
///      joe:$2y$05$CuHx15QYVXoKEuwUPOD6vuWnD3R4VydRi9hZCyqVFMxegOO2n9NoO\n\
///      ann:$5$bxJfC7IshDOwpZ5O$gWUpAEHmNvjM.jmQyr8Pdi7f7bubbJNV/YtulXkOA/2\n",
/// )?;
/// assert_eq!(users.len(), 2);
///
/// let error = HashedUsers::parse("joe:$apr1$bM.dlYBQ$E3ihGacYYk8uwcv70uYhJ1").unwrap_err();
/// assert_eq!(error.line, 1);
/// assert!(error.source.to_string().starts_with("a hash by MD5, which is too weak"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HashedUsers {
    users: Arc<HashMap<Box<str>, Secret>>,
}

/// What proves that somebody is who it says.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    Hashed(Arc<Hash>),
    Clear(Password),
}

impl HashedUsers {
    /// The largest file that is read, in bytes: 64 MiB. A line has some hundred.
    pub const MAX_FILE: usize = 64 * 1024 * 1024;

    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file of lines as [`parse`](Self::parse) takes them. It blocks.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is larger than [`MAX_FILE`](Self::MAX_FILE), or one of
    /// its lines is wrong.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PasswordFileError> {
        let path = path.as_ref();
        let (contents, _) = contents(path)?;
        Self::of_file(path, &contents)
    }

    pub(super) fn of_file(path: &Path, contents: &[u8]) -> Result<Self, PasswordFileError> {
        Self::parse(contents).map_err(|source| PasswordFileError::Line {
            path: path.into(),
            source,
        })
    }

    /// Reads lines of `NAME:HASH`. A line that begins with `#` is a comment, and so is
    /// what follows a second colon.
    ///
    /// # Errors
    ///
    /// If a line is wrong, or lists somebody a second time: the first such line.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, BadLine> {
        let text = text.as_ref();
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let mut users = HashMap::new();
        for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let is_comment = text.starts_with(b"#") || text.trim_ascii().is_empty();
            if !is_comment {
                let (name, hash) = entry(text).map_err(|source| BadLine { line, source })?;
                if users.insert(name, hash).is_some() {
                    let source = LineError::Twice;
                    return Err(BadLine { line, source });
                }
            }
        }
        Ok(Self {
            users: Arc::new(users),
        })
    }

    /// Lets in `username` with the password that `hash` is of. The last that is given
    /// for a username counts.
    ///
    /// # Errors
    ///
    /// If no client could send the name, or it is no hash that will do.
    pub fn with_hash(self, username: &str, hash: &str) -> Result<Self, LineError> {
        let hash = Hash::parse(hash)?;
        Ok(self.with(checked(username)?, Secret::Hashed(Arc::new(hash))))
    }

    /// Lets in `username` with `password`, of which there is no hash. The last that is
    /// given for a username counts.
    ///
    /// # Errors
    ///
    /// If the name or the password is not of 1 to 255 bytes.
    pub fn with_password(self, username: &str, password: &str) -> Result<Self, UsersError> {
        let name = checked(username)?;
        match Password::new(password) {
            Ok(_) if password.is_empty() => Err(UsersError::Empty),
            Ok(password) => Ok(self.with(name, Secret::Clear(password))),
            Err(_) => Err(UsersError::TooLong),
        }
    }

    fn with(mut self, name: &str, secret: Secret) -> Self {
        Arc::make_mut(&mut self.users).insert(name.into(), secret);
        self
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Secret> {
        self.users.get(name)
    }

    /// All hashes, by what they cost.
    pub(super) fn by_cost(&self) -> Vec<Arc<Hash>> {
        let hashes = self.users.values().filter_map(|secret| match secret {
            Secret::Hashed(hash) => Some(Arc::clone(hash)),
            Secret::Clear(_) => None,
        });
        let mut hashes: Vec<_> = hashes.collect();
        hashes.sort_unstable_by_key(|hash| hash.cost());
        hashes
    }
}

impl fmt::Debug for HashedUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashedUsers")
            .field("users", &self.len())
            .finish_non_exhaustive()
    }
}

fn entry(line: &[u8]) -> Result<(Box<str>, Secret), LineError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Ok(line) = str::from_utf8(line) else {
        return Err(LineError::NotText);
    };
    let (name, rest) = line.split_once(':').ok_or(LineError::NoColon)?;
    let hash = rest.split_once(':').map_or(rest, |(hash, _)| hash);
    let hash = Hash::parse(hash)?;
    Ok((checked(name)?.into(), Secret::Hashed(Arc::new(hash))))
}

fn checked(name: &str) -> Result<&str, UsersError> {
    match name.len() {
        0 => Err(UsersError::Empty),
        1..=Username::MAX_LEN => Ok(name),
        _ => Err(UsersError::TooLong),
    }
}

/// What is in the file, and what is known of it then.
pub(super) fn contents(path: &Path) -> Result<(Vec<u8>, Metadata), PasswordFileError> {
    let most = HashedUsers::MAX_FILE;
    let read = || {
        let mut contents = Vec::new();
        let file = File::open(path)?;
        // A device may have no end.
        (&file).take(most as u64 + 1).read_to_end(&mut contents)?;
        if contents.len() > most {
            let why = format!("larger than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok((contents, file.metadata()?))
    };
    read().map_err(|source| PasswordFileError::Read {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::HashError, *};

    const JOE: &str = "joe:$2y$04$.DAff.bWKzbu2zdUXzdgx.te026.OKKflvLEJX0weSglWVmwfAY.i";

    fn error(text: impl AsRef<[u8]>) -> (usize, LineError) {
        let error = HashedUsers::parse(text).unwrap_err();
        (error.line, error.source)
    }

    #[test]
    fn a_file_is_read_whatever_its_line_ends_and_comments() {
        for text in [
            JOE.to_owned(),
            format!("{JOE}\n"),
            format!("{JOE}\r\n"),
            format!("\u{feff}{JOE}\n"),
            format!("# users\n\n  \t\r\n{JOE}:of the second floor: left\r\n#end"),
        ] {
            let users = HashedUsers::parse(&text).unwrap();
            assert_eq!(users.len(), 1, "{text:?}");
            assert_eq!(users, HashedUsers::parse(JOE).unwrap());
        }
        assert!(HashedUsers::parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_what_is_in_it() {
        for (text, expected) in [
            (&b"hunter2"[..], (1, LineError::NoColon)),
            (b"\xff:hunter2", (1, LineError::NotText)),
            (b"#\n\njoe:hunter2\n", (3, HashError::Unknown.into())),
            (b"joe:$1$hunter2", (1, HashError::Weak("MD5").into())),
            (b":hunter2", (1, HashError::Unknown.into())),
        ] {
            let found = error(text);
            assert_eq!(found, expected);
            let shown = format!("{found:?} {}", found.1);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(error(format!("{JOE}\n{JOE}\n")), (2, LineError::Twice));
        let nameless = JOE.strip_prefix("joe").unwrap();
        assert_eq!(error(nameless).1, UsersError::Empty.into());
        let long = format!("{}{JOE}", "x".repeat(253));
        assert_eq!(error(long).1, UsersError::TooLong.into());
        let hash = nameless.strip_prefix(':').unwrap();
        assert!(HashedUsers::new().with_hash("", hash).is_err());
        for (name, password) in [("", "x"), ("x", ""), ("x", &"x".repeat(256))] {
            assert!(HashedUsers::new().with_password(name, password).is_err());
        }
    }

    #[test]
    fn a_file_s_error_names_it_and_the_line() {
        let path = std::env::temp_dir().join(format!("wrong-{}", std::process::id()));
        std::fs::write(&path, format!("{JOE}\nann:hunter2\n")).unwrap();
        let error = HashedUsers::read(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        let text = crate::session::Chain(&error).to_string();
        let begins = format!("{}: line 2: no hash by bcrypt", path.display());
        assert!(text.starts_with(&begins), "{text}");

        let error = HashedUsers::read(&path).unwrap_err();
        assert!(matches!(error, PasswordFileError::Read { .. }));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_an_end_is_too_large() {
        let error = HashedUsers::read("/dev/zero").unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "larger than 67108864 bytes");
    }

    #[test]
    fn a_hundred_thousand_lines_are_read() {
        let hash = JOE.strip_prefix("joe:").unwrap();
        let lines = (0..100_000).map(|number| format!("user{number}:{hash}\n"));
        let users = HashedUsers::parse(lines.collect::<String>()).unwrap();
        assert_eq!(users.len(), 100_000);
        assert!(users.get("user99999").is_some());
        assert_eq!(users.by_cost().len(), 100_000);
    }

    proptest! {
        #[test]
        fn garbage_lists_nobody_and_panics_nowhere(garbage: Vec<u8>) {
            if let Ok(users) = HashedUsers::parse(&garbage) {
                prop_assert!(users.is_empty());
            }
        }
    }
}
