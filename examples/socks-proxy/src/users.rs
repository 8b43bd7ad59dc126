//! Who is let in.

use std::{error::Error, fs, io};

use socks_tower::{HashedUsers, VerifyPasswords};

use crate::{config::Config, kept::Kept};

/// Those who are let in, and who checks their passwords.
pub struct Users {
    list: HashedUsers,
    verifier: VerifyPasswords,
}

impl Users {
    /// None if nobody is asked who they are.
    pub fn new(config: &Config, kept: &mut Kept) -> Result<Option<Self>, Box<dyn Error>> {
        let Some(list) = read(config)? else {
            return Ok(None);
        };
        let verifier = kept.or_try_made("users", (), || {
            VerifyPasswords::new(HashedUsers::new())
                .map_err(|error| io::Error::new(error.kind(), format!("no randomness: {error}")))
        })?;
        Ok(Some(Self { list, verifier }))
    }

    /// The verifier, which lets in these users and no others from now on.
    pub fn verifier(self) -> VerifyPasswords {
        self.verifier.replace(self.list);
        self.verifier
    }
}

/// The users of both keys; none if neither names any.
fn read(config: &Config) -> Result<Option<HashedUsers>, Box<dyn Error>> {
    if config.user.is_empty() && config.users.is_none() {
        return Ok(None);
    }
    let mut users = HashedUsers::new();
    for (number, user) in config.user.iter().enumerate() {
        let at = config.said.member("user", number);
        let user = user.reveal().map_err(|error| format!("{at}: {error}"))?;
        // A file may hold several.
        let mut each = user.split('\n').map(|line| line.trim_end_matches('\r'));
        users = each
            .try_fold(users, add)
            .map_err(|error| format!("{at}: {error}"))?;
    }
    if let Some(file) = &config.users {
        let name = file.display();
        let text = fs::read_to_string(file)
            .map_err(|error| format!("{}: cannot read {name}: {error}", config.said.at("users")))?;
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            users = add(users, line).map_err(|error| format!("{name}, line {number}: {error}"))?;
        }
    }
    if users.is_empty() {
        tracing::warn!("no user is listed: nobody will be let in");
    }
    Ok(Some(users))
}

fn add(users: HashedUsers, line: &str) -> Result<HashedUsers, Box<dyn Error>> {
    let (name, secret) = line.split_once(':').ok_or("not NAME:PASSWORD")?;
    if is_hash(secret) {
        // As htpasswd's files have it, what follows another colon is a comment.
        let hash = secret.split_once(':').map_or(secret, |(hash, _)| hash);
        return Ok(users.with_hash(name, hash)?);
    }
    Ok(users.with_password(name, secret)?)
}

/// Whether it has the form of a hash, be it one that will do or not: `$ID$…`, or SHA-1's of
/// `htpasswd -s`. A password in clear that looks like it would have to be hashed.
fn is_hash(secret: &str) -> bool {
    let id = secret.strip_prefix('$').and_then(|it| it.split_once('$'));
    let is_id = |id: &str| {
        let mut bytes = id.bytes();
        !id.is_empty() && bytes.all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    id.is_some_and(|(id, _)| is_id(id))
        || ["{SHA}", "{SSHA}"].iter().any(|it| secret.starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_told_from_a_password_by_its_beginning() {
        for hash in [
            "$2y$05$x",
            "$apr1$x$y",
            "$argon2id$v=19",
            "$y$j9T$x",
            "{SHA}x=",
        ] {
            assert!(is_hash(hash), "{hash}");
        }
        for password in [
            "", "$", "$$", "$ecret", "pa$$word", "$a b$c", "{sha}", "a$2y$05$",
        ] {
            assert!(!is_hash(password), "{password}");
        }
    }
}
