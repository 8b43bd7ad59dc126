//! Who is let in.

use std::{error::Error, fs};

use socks_tower::Users;

use crate::config::Config;

/// The users of both keys; none if neither names any.
pub fn read(config: &Config) -> Result<Option<Users>, Box<dyn Error>> {
    if config.user.is_empty() && config.users.is_none() {
        return Ok(None);
    }
    let mut users = Users::new();
    for (number, user) in config.user.iter().enumerate() {
        users = add(users, user.reveal())
            .map_err(|error| format!("{}: {error}", config.said.member("user", number)))?;
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

fn add(users: Users, line: &str) -> Result<Users, Box<dyn Error>> {
    let (name, password) = line.split_once(':').ok_or("not NAME:PASSWORD")?;
    Ok(users.with(name, password)?)
}
