//! One hashed password: which form it has, what it costs to check, and whether a
//! password is the one.

use std::{fmt, io};

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash};
use base64ct::{Base64ShaCrypt, Encoding};
use sha_crypt::ShaCrypt;

/// The most that a hash may ask for. A check cannot be interrupted, and takes the
/// memory that the hash says: each of these is about a second of a core.
pub(super) mod most {
    pub(crate) const BCRYPT_COST: u32 = 14;
    pub(crate) const SHA_CRYPT_ROUNDS: u32 = 1_000_000;
    /// In KiB.
    pub(crate) const ARGON2_MEMORY: u32 = 256 * 1024;
    /// KiB times passes.
    pub(crate) const ARGON2_WORK: u64 = 1024 * 1024;
}

/// The text that a hash is written as, and how it is checked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hash {
    cost: Cost,
    text: Box<str>,
}

/// What decides how long a check takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    Bcrypt { cost: u32 },
    ShaCrypt { bytes: usize, rounds: u32 },
    Argon2 { work: u64, memory: u32 },
}

/// A text is no hash that a user can be listed with.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashError {
    /// It has none of the forms: a password in clear, DES's crypt, or another.
    #[error(
        "no hash by bcrypt ($2y$…), SHA-crypt ($5$…, $6$…) or argon2 ($argon2id$…): a password in clear, DES's crypt, or another form"
    )]
    Unknown,
    /// It can be found out too fast.
    #[error(
        "a hash by {0}, which is too weak: make one by bcrypt (`htpasswd -B`), SHA-crypt or argon2"
    )]
    Weak(&'static str),
    /// It begins like one of the forms, and does not go on like it.
    #[error("malformed hash by {0}")]
    Malformed(&'static str),
    /// To check it would take too long, or too much memory.
    #[error(
        "a hash by {form} that costs too much to check: {what} {given}, where {most} is the most"
    )]
    TooCostly {
        /// The form.
        form: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// How much.
        given: u64,
        /// How much there may be.
        most: u64,
    },
}

const BCRYPT: &str = "bcrypt";
const SHA_CRYPT: &str = "SHA-crypt";
const ARGON2: &str = "argon2";

impl Hash {
    pub(super) fn parse(text: &str) -> Result<Self, HashError> {
        const WEAK: [(&str, &str); 6] = [
            ("$apr1$", "MD5"),
            ("$1$", "MD5"),
            ("{SHA}", "SHA-1"),
            ("{SSHA}", "SHA-1"),
            ("$3$", "MD4"),
            ("$2x$", "a faulty bcrypt"),
        ];
        if let Some((_, by)) = WEAK.iter().find(|(prefix, _)| text.starts_with(prefix)) {
            return Err(HashError::Weak(by));
        }
        let prefix = text.get(1..).and_then(|rest| rest.split_once('$'));
        let cost = match prefix {
            Some(("2a" | "2b" | "2y", _)) => bcrypt_cost(text)?,
            Some(("5", rest)) => sha_crypt_cost::<32>(text, rest)?,
            Some(("6", rest)) => sha_crypt_cost::<64>(text, rest)?,
            Some(("argon2i" | "argon2d" | "argon2id", _)) => argon2_cost(text)?,
            _ => return Err(HashError::Unknown),
        };
        Ok(Self {
            cost,
            text: text.into(),
        })
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// Computes for as long as the hash says: whether it is of `password`.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub(super) fn is_of(&self, password: &[u8]) -> io::Result<bool> {
        let checked = match self.cost {
            Cost::Bcrypt { .. } => return bcrypt::verify(password, &self.text).map_err(other),
            Cost::ShaCrypt { .. } => ShaCrypt::default().verify_password(password, &*self.text),
            Cost::Argon2 { .. } => Argon2::default().verify_password(password, &*self.text),
        };
        match checked {
            Ok(()) => Ok(true),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(other(error)),
        }
    }
}

fn other(error: impl fmt::Display) -> io::Error {
    io::Error::other(format!("hash a password: {error}"))
}

fn at_most(form: &'static str, what: &'static str, given: u64, most: u64) -> Result<(), HashError> {
    if given > most {
        return Err(HashError::TooCostly {
            form,
            what,
            given,
            most,
        });
    }
    Ok(())
}

fn bcrypt_cost(text: &str) -> Result<Cost, HashError> {
    let malformed = HashError::Malformed(BCRYPT);
    let Ok(parts) = text.parse::<bcrypt::HashParts>() else {
        return Err(malformed);
    };
    let cost = parts.get_cost();
    at_most(BCRYPT, "cost", cost.into(), most::BCRYPT_COST.into())?;
    // The least that there is.
    if cost < 4 {
        return Err(malformed);
    }
    Ok(Cost::Bcrypt { cost })
}

/// Of a hash of `N` bytes. `rest` is what follows its identifier:
/// `[rounds=N$]SALT$HASH`.
fn sha_crypt_cost<const N: usize>(text: &str, rest: &str) -> Result<Cost, HashError> {
    use sha_crypt::{Params, PasswordHashRef};

    let malformed = HashError::Malformed(SHA_CRYPT);
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        None => (Ok(Params::RECOMMENDED_ROUNDS), rest),
        Some(rest) => rest
            .split_once('$')
            .map_or((rest.parse(), ""), |(rounds, rest)| (rounds.parse(), rest)),
    };
    let Ok(rounds) = rounds else {
        return Err(malformed);
    };
    let most = most::SHA_CRYPT_ROUNDS.into();
    at_most(SHA_CRYPT, "rounds", u64::from(rounds), most)?;
    let mut output = [0; N];
    let is_whole = rest.split_once('$').is_some_and(|(salt, hash)| {
        salt.len() <= 16
            && Base64ShaCrypt::decode(hash, &mut output).is_ok_and(|hash| hash.len() == N)
    });
    if !is_whole || rounds < Params::ROUNDS_MIN || PasswordHashRef::new(text).is_err() {
        return Err(malformed);
    }
    Ok(Cost::ShaCrypt { bytes: N, rounds })
}

fn argon2_cost(text: &str) -> Result<Cost, HashError> {
    let malformed = HashError::Malformed(ARGON2);
    let Ok(hash) = argon2::PasswordHash::new(text) else {
        return Err(malformed);
    };
    let Ok(params) = argon2::Params::try_from(&hash) else {
        return Err(malformed);
    };
    // Without a version, some take it for the first, and others for the last.
    let is_whole = matches!(hash.version, Some(0x10 | 0x13))
        && hash
            .salt
            .is_some_and(|salt| salt.len() >= argon2::MIN_SALT_LEN)
        && hash.hash.is_some();
    if !is_whole {
        return Err(malformed);
    }
    let memory = params.m_cost();
    let work = u64::from(memory) * u64::from(params.t_cost());
    at_most(ARGON2, "KiB", memory.into(), most::ARGON2_MEMORY.into())?;
    at_most(ARGON2, "KiB times passes", work, most::ARGON2_WORK)?;
    Ok(Cost::Argon2 { work, memory })
}

/// How a password is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// Argon2id with 19 MiB and two passes, as OWASP recommends.
    #[default]
    Argon2id,
    /// bcrypt, which Apache and others understand as well. Each further `cost` takes
    /// twice as long; 4 is the least and 14 the most.
    Bcrypt {
        /// 12 takes about a quarter of a second.
        cost: u32,
    },
}

/// Hashes `password`, with a salt of its own: what stands behind the colon of a line.
///
/// ```
/// use socks_tower::stages::authenticate::password_file::{Scheme, hash_password};
///
/// let line = format!("joe:{}", hash_password("secret", Scheme::default())?);
/// assert!(line.starts_with("joe:$argon2id$"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// If the password is empty, or longer than clients can send: 255 bytes (RFC 1929).
/// bcrypt leaves out what is beyond 72, so longer ones are refused for it. If the cost is
/// not what may be, and if the system has no randomness or not enough memory.
pub fn hash_password(password: impl AsRef<[u8]>, scheme: Scheme) -> io::Result<String> {
    let password = password.as_ref();
    let (longest, cost) = match scheme {
        Scheme::Argon2id => (socks_core::Password::MAX_LEN, None),
        Scheme::Bcrypt { cost } => (72, Some(cost)),
    };
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    if password.is_empty() || password.len() > longest {
        return Err(invalid(format!("a password has 1 to {longest} bytes")));
    }
    match cost {
        None => {
            let hash = Argon2::default().hash_password(password).map_err(other)?;
            Ok(hash.to_string())
        }
        Some(cost @ 4..=most::BCRYPT_COST) => {
            let parts = bcrypt::hash_with_result(password, cost).map_err(other)?;
            // Older programs than the newest know it by this name.
            Ok(parts.format_for_version(bcrypt::Version::TwoY))
        }
        Some(_) => Err(invalid(format!("a cost is 4 to {}", most::BCRYPT_COST))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
                        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    /// What Debian 12's htpasswd (2.4), mkpasswd (5.5) and argon2 (20171227) made.
    const MADE: [(&str, &str); 20] = [
        // htpasswd -nbB
        (
            "secret",
            "$2y$04$.DAff.bWKzbu2zdUXzdgx.te026.OKKflvLEJX0weSglWVmwfAY.i",
        ),
        (
            "p\u{e4}ssw\u{f6}rd \u{20ac}",
            "$2y$05$CuHx15QYVXoKEuwUPOD6vuWnD3R4VydRi9hZCyqVFMxegOO2n9NoO",
        ),
        (
            LONG,
            "$2y$04$R9BgIfc6zQkTpKhI.yGw/OmsfmeFbteF4l5kKo67Uv0KXs5rdWpL6",
        ),
        // htpasswd -nb2, -nb5, -nb5 -r 3000
        (
            "secret",
            "$5$l4mItiR.Z1C6ohk6$S5/o4Rmb2k0dFIK/NZbCm7BJZu0u0lyylFf0MF.mJE5",
        ),
        (
            "secret",
            "$6$KaQDvfOsIdhzYUtL$/ePZGrNmX5Mx63iI3IWQTRN28vnkA7lD47DPjYULWvSB938Nq9kHvGgpQWY1jHPfb5d/ASAKN.9YF9TuxotEv0",
        ),
        (
            "secret",
            "$6$rounds=3000$h2K212sbTgG3n.mg$GZ0Vq9xm1/Z2DRmNT.lmKZDEwdgQQ9RjQdGbUY45yTGLc2xX2vdnZOyKZNMKiotWhMeYrh9wlp5fFRfdcz/Cp1",
        ),
        // mkpasswd -m bcrypt, bcrypt-a
        (
            "secret",
            "$2b$05$9dKUzlNLZIUAOjbNO4B.XOWIIjunkjXC9i5cEsHsk6YZ4JaQy6vPC",
        ),
        (
            "secret",
            "$2a$05$yzN.rdfDD2ePrm4Vl85jLO2/BAlBxoa5yC1BaT3DqzUVCe5S1fcSm",
        ),
        (
            LONG,
            "$2b$05$/FAqc9JeSVxBAmgEN52TL.C4tWR9Fuqhte/hjjTmzyIQCyvir2VIa",
        ),
        // mkpasswd -m sha512crypt, sha256crypt
        (
            "secret",
            "$6$vfF.2A.VNZpNseDy$CQpxzwGgnmj0Zk37SKt6eGGM9StLHXyO.rv.JISbbRrwJ1pKgnLw7YJn7J.L87YnGJsPO63QZyXzDjBWtKAdo/",
        ),
        (
            "secret",
            "$5$bxJfC7IshDOwpZ5O$gWUpAEHmNvjM.jmQyr8Pdi7f7bubbJNV/YtulXkOA/2",
        ),
        (
            "secret",
            "$5$rounds=20000$ecP7UixBiJ0BFxJY$OgceoEb77er3HzDzmSZt0g2lEP9BZMt8p0HwNeRwmQ.",
        ),
        (
            "p\u{e4}ssw\u{f6}rd \u{20ac}",
            "$6$rounds=1000$abcdefgh$J0gndyZElC2E5NgSOpLN1MoMuQKA6jcxcrRjuwJ9cMb6MTxdCCHS4dTV1lhhArRe2FkApT7V0ZttnvcZkn4Q30",
        ),
        (
            LONG,
            "$5$abcdefgh$.wvAZFRM3qcOyii0UxLpCnmG9xkhWx4Yxd4UqvBYIa7",
        ),
        (
            LONG,
            "$6$abcdefghijklmnop$r/HtRGuCzMNedONV3I8Xz8Qm4Qy85pQ/RigX0agmbAzWsa3BCc1B564NfCD/Giyliby36KbTMkrVLsmFYtbTu1",
        ),
        // argon2 SALT -e -i, -d, -id, of the old version, and a long one
        (
            "secret",
            "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHQ$Mt88by0CTKL0Nbv0t15OvBwePaNUDqkdzpUfKhQ5d7o",
        ),
        (
            "secret",
            "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHQ$5g4dzYgo5L/2Y4gQSg3nyD0uLYcHeObZffcKoS19qu4",
        ),
        (
            "p\u{e4}ssw\u{f6}rd \u{20ac}",
            "$argon2id$v=19$m=256,t=1,p=4$c29tZXNhbHRzb21lc2FsdA$5BnSf7HHebxW/cd4whlSEj7CkSTAj8gA",
        ),
        (
            "secret",
            "$argon2i$v=16$m=64,t=3,p=1$c29tZXNhbHQ$FxU0qLK2dwT4MQqe6x+WFVDAvPAsiUOIuuyacIYxax8",
        ),
        (
            LONG,
            "$argon2id$v=19$m=100,t=1,p=1$c29tZXNhbHQ$nL5CJT4s7jjiI8xal5A0JRVSQNR+hDAew76RSp9WW70",
        ),
    ];

    #[test]
    fn what_other_programs_hash_is_of_its_password_and_of_no_other() {
        for (password, text) in MADE {
            let hash = Hash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(hash.is_of(password.as_bytes()).unwrap(), "{text}");
            for wrong in ["Secret", ""] {
                assert!(!hash.is_of(wrong.as_bytes()).unwrap(), "{text}");
            }
        }
    }

    #[test]
    fn of_two_long_passwords_bcrypt_sees_the_first_72_bytes() {
        let hash = Hash::parse(MADE[2].1).unwrap();
        assert!(hash.is_of(&[b'x'; 72]).unwrap());
        assert!(!hash.is_of(&[b'x'; 71]).unwrap());
    }

    #[test]
    fn weak_forms_and_passwords_in_clear_are_refused() {
        for text in [
            "$apr1$bM.dlYBQ$E3ihGacYYk8uwcv70uYhJ1",
            "$1$hcfkJOSq$XTQFMmuTebm1tNdkJbzuH0",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "$2x$05$9dKUzlNLZIUAOjbNO4B.XOWIIjunkjXC9i5cEsHsk6YZ4JaQy6vPC",
        ] {
            assert!(
                matches!(Hash::parse(text), Err(HashError::Weak(_))),
                "{text}"
            );
        }
        for text in [
            "secret",
            "K4a4tO5NjIQfw",
            "",
            "$",
            "$$",
            "\u{20ac}$5$",
            "$y$j9T$YQTWxmPqbZXR9NGRkkprp1$R3TzYGSD4RWuH9Ad7blJ4N5/0O./JOakVZb6svjbj9D",
        ] {
            assert_eq!(Hash::parse(text).err(), Some(HashError::Unknown), "{text}");
        }
    }

    #[test]
    fn what_would_cost_too_much_is_refused() {
        let salt_and_hash = "c29tZXNhbHQ$Mt88by0CTKL0Nbv0t15OvBwePaNUDqkdzpUfKhQ5d7o";
        let argon2 = |params: &str| format!("$argon2id$v=19${params}${salt_and_hash}");
        let bcrypt =
            |cost| format!("$2y${cost}$.DAff.bWKzbu2zdUXzdgx.te026.OKKflvLEJX0weSglWVmwfAY.i");
        let sha_crypt =
            |rounds| format!("$5$rounds={rounds}$ab$gWUpAEHmNvjM.jmQyr8Pdi7f7bubbJNV/YtulXkOA/2");
        for (text, is_let) in [
            (bcrypt("14"), true),
            (bcrypt("15"), false),
            (bcrypt("31"), false),
            (bcrypt("99"), false),
            (sha_crypt("1000000"), true),
            (sha_crypt("1000001"), false),
            (sha_crypt("999999999"), false),
            (argon2("m=262144,t=4,p=1"), true),
            (argon2("m=262145,t=1,p=1"), false),
            (argon2("m=4194304,t=1,p=1"), false),
            (argon2("m=4294967295,t=4294967295,p=1"), false),
            (argon2("m=8,t=131072,p=1"), true),
            (argon2("m=8,t=131073,p=1"), false),
        ] {
            match Hash::parse(&text) {
                Ok(_) => assert!(is_let, "{text}"),
                Err(HashError::TooCostly { .. }) => assert!(!is_let, "{text}"),
                Err(error) => panic!("{text}: {error}"),
            }
        }
        let error = Hash::parse(&bcrypt("31")).err().unwrap();
        assert_eq!(
            error.to_string(),
            "a hash by bcrypt that costs too much to check: cost 31, where 14 is the most"
        );
    }

    #[test]
    fn what_is_malformed_is_refused_and_no_check_of_it_fails() {
        for text in [
            "$2y$03$.DAff.bWKzbu2zdUXzdgx.te026.OKKflvLEJX0weSglWVmwfAY.i",
            "$5$rounds=999$abcdefgh$.wvAZFRM3qcOyii0UxLpCnmG9xkhWx4Yxd4UqvBYIa7",
            "$5$rounds=4294967296$abcdefgh$.wvAZFRM3qcOyii0UxLpCnmG9xkhWx4Yxd4UqvBYIa7",
            "$5$rounds=$abcdefgh$.wvAZFRM3qcOyii0UxLpCnmG9xkhWx4Yxd4UqvBYIa7",
            "$5$rounds=5000",
            "$5$abcdefghijklmnopq$.wvAZFRM3qcOyii0UxLpCnmG9xkhWx4Yxd4UqvBYIa7",
            "$5$abc$defgh$.wvAZFRM3qcOyii0UxLpCnmG9xkhWx4Yxd4UqvBYIa7",
            "$5$$.wvAZFRM3qcOyii0UxLpCnmG9xkhWx4Yxd4UqvBYIa7",
            // The other's length.
            "$6$abcdefgh$.wvAZFRM3qcOyii0UxLpCnmG9xkhWx4Yxd4UqvBYIa7",
            // No version; no salt; a short one; no hash; less memory than there are lanes.
            "$argon2i$m=64,t=2,p=1$c29tZXNhbHQ$Mt88by0CTKL0Nbv0t15OvBwePaNUDqkdzpUfKhQ5d7o",
            "$argon2i$v=18$m=64,t=2,p=1$c29tZXNhbHQ$Mt88by0CTKL0Nbv0t15OvBwePaNUDqkdzpUfKhQ5d7o",
            "$argon2i$v=19$m=64,t=2,p=1",
            "$argon2i$v=19$m=64,t=2,p=1$c29tZQ$Mt88by0CTKL0Nbv0t15OvBwePaNUDqkdzpUfKhQ5d7o",
            "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHQ",
            "$argon2i$v=19$m=64,t=2,p=16777215$c29tZXNhbHQ$Mt88by0CTKL0Nbv0t15OvBwePaNUDqkdzpUfKhQ5d7o",
        ] {
            let error = Hash::parse(text).err();
            assert!(
                matches!(error, Some(HashError::Malformed(_))),
                "{text}: {error:?}"
            );
        }
        // Cut anywhere: of argon2 a shorter hash may be left, which nothing is of.
        for (password, text) in MADE {
            for cut in 0..text.len() {
                if let Ok(hash) = Hash::parse(&text[..cut]) {
                    assert!(text.starts_with("$argon2"), "{text} cut to {cut}");
                    assert!(!hash.is_of(password.as_bytes()).unwrap());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(
            prefix in prop_oneof!["", r"\$2y\$05\$", r"\$[56]\$", r"\$argon2id\$v=19\$m=64,t=1,p=1\$"],
            rest in r"[ -~\u{20ac}]{0,90}",
        ) {
            let _ = Hash::parse(&format!("{prefix}{rest}"));
        }
    }

    #[test]
    fn what_is_hashed_here_is_of_its_password() {
        for scheme in [Scheme::default(), Scheme::Bcrypt { cost: 4 }] {
            let (text, again) = (
                hash_password("secret", scheme).unwrap(),
                hash_password("secret", scheme).unwrap(),
            );
            assert_ne!(text, again, "each has a salt of its own");
            let hash = Hash::parse(&text).unwrap();
            assert!(hash.is_of(b"secret").unwrap() && !hash.is_of(b"Secret").unwrap());
        }
        for (length, cost) in [(0, 4), (73, 4), (256, 4), (6, 3), (6, 15)] {
            let refused = hash_password("x".repeat(length), Scheme::Bcrypt { cost });
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert!(hash_password("x".repeat(256), Scheme::Argon2id).is_err());
    }
}
