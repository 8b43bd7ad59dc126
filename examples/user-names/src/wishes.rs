//! What users write behind their names: `joe-country-de-session-abc`.

use socks_tower::{Admitted, Attempt, BoxError, Identity, Username, Users, Work};

/// What a user wants. Rules, routes and connectors find it in the session's extensions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    pub country: Option<String>,
    pub session: Option<String>,
}

impl Wishes {
    /// The name, and what stands behind it, in any order and each once.
    pub fn split(username: &str) -> Result<(&str, Self), BoxError> {
        let mut words = username.split('-');
        let name = words.next().unwrap_or_default();
        let mut wishes = Self::default();
        while let Some(word) = words.next() {
            let wish = match word {
                "country" => &mut wishes.country,
                "session" => &mut wishes.session,
                // Refused, or a mistyped wish would be served as if it were none.
                _ => return Err(format!("nobody can wish for {word:?}").into()),
            };
            let value = words.next().filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| format!("{word:?} is nothing"))?;
            if wish.replace(value.to_owned()).is_some() {
                return Err(format!("{word:?} is there twice").into());
            }
        }
        Ok((name, wishes))
    }
}

/// Asks `users` about the name; to limits and rules, that is who it is.
pub async fn verify(users: Users, mut attempt: Attempt) -> Result<Admitted, BoxError> {
    let username = attempt.credentials.username.clone();
    let username = username.to_str().ok_or("the name is not UTF-8")?;
    let (name, wishes) = Wishes::split(username)?;
    attempt.credentials.username = Username::new(name)?;
    let identity: Identity = users.run(attempt).await?;
    Ok(Admitted::from(identity).with_extension(wishes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_stand_behind_a_name_in_any_order() {
        for (username, name, country, session) in [
            ("joe", "joe", None, None),
            ("joe-country-de", "joe", Some("de"), None),
            ("joe-session-abc", "joe", None, Some("abc")),
            ("joe-session-abc-country-de", "joe", Some("de"), Some("abc")),
            ("", "", None, None),
        ] {
            let wishes = Wishes {
                country: country.map(str::to_owned),
                session: session.map(str::to_owned),
            };
            assert_eq!(Wishes::split(username).unwrap(), (name, wishes));
        }
    }

    #[test]
    fn what_nobody_can_wish_for_is_refused() {
        for username in [
            "joe-",
            "joe-de",
            "joe-country",
            "joe-country-",
            "joe-country--session-a",
            "joe-country-de-country-us",
            "joe-Country-de",
        ] {
            assert!(Wishes::split(username).is_err(), "{username}");
        }
    }
}
