//! The grammar of rules and limits: `word key=value,value key="a value"`.

use std::{error::Error, vec};

pub type Fault = Box<dyn Error + Send + Sync>;

/// A word, or a key with its values.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    pub key: String,
    /// None without an equals sign.
    pub values: Option<Vec<String>>,
}

/// Takes a text apart. Within quotes, spaces and commas are what they are.
pub fn words(text: &str) -> Result<vec::IntoIter<Word>, Fault> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|it| it.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(words.into_iter());
        }
        let mut key = String::new();
        while let Some(char) = chars.next_if(|it| !it.is_whitespace() && *it != '=') {
            key.push(char);
        }
        let mut word = Word { key, values: None };
        if chars.next_if_eq(&'=').is_some() {
            let mut values = Vec::from([String::new()]);
            let mut quoted = false;
            while let Some(char) = chars.next_if(|it| quoted || !it.is_whitespace()) {
                match (char, values.last_mut()) {
                    ('"', _) => quoted = !quoted,
                    (',', _) if !quoted => values.push(String::new()),
                    (char, Some(value)) => value.push(char),
                    (_, None) => {}
                }
            }
            if quoted {
                return Err(format!("the quotes of {}= are not closed", word.key).into());
            }
            if values.iter().any(String::is_empty) {
                return Err(format!("{}= has an empty value", word.key).into());
            }
            word.values = Some(values);
        }
        words.push(word);
    }
}

impl Word {
    /// Its only value, parsed.
    pub fn one<T, E: Into<Fault>>(
        self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        let Self { key, values } = self;
        match values.as_deref() {
            Some([value]) => parse(value).map_err(|error| {
                let error = error.into();
                format!("{key}={value}: {error}").into()
            }),
            _ => Err(format!("{key}= takes one value").into()),
        }
    }

    /// All its values, each parsed.
    pub fn each<T, E: Into<Fault>>(
        self,
        mut parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Fault> {
        let Self { key, values } = self;
        let values = values.ok_or_else(|| format!("{key} wants a value: {key}=…"))?;
        let parsed = values.iter().map(|value| {
            parse(value).map_err(|error| {
                let error = error.into();
                format!("{key}={value}: {error}").into()
            })
        });
        parsed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart_at_spaces_and_values_at_commas() {
        let word = |key: &str, values: &[&str]| Word {
            key: key.to_owned(),
            values: (!values.is_empty()).then(|| values.iter().map(|&it| it.to_owned()).collect()),
        };
        let all: Vec<_> = words("  deny user=joe,ann during=\"sat,sun 08:00-10:00\" x ")
            .unwrap()
            .collect();
        assert_eq!(
            all,
            [
                word("deny", &[]),
                word("user", &["joe", "ann"]),
                word("during", &["sat,sun 08:00-10:00"]),
                word("x", &[]),
            ]
        );
        for wrong in ["user=", "user=joe,", "user=\"joe"] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
    }
}
