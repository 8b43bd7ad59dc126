//! Who is let in.

use std::{error::Error, fs};

use socks_tower::Users;

use crate::args::Args;

/// The users of the command line and of the file; none if neither names any.
pub fn read(args: &Args) -> Result<Option<Users>, Box<dyn Error>> {
    if args.user.is_empty() && args.users.is_none() {
        return Ok(None);
    }
    let mut users = Users::new();
    for user in &args.user {
        users = add(users, user).map_err(|error| format!("--user: {error}"))?;
    }
    if let Some(file) = &args.users {
        let name = file.display();
        let text =
            fs::read_to_string(file).map_err(|error| format!("cannot read {name}: {error}"))?;
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            // The line is not shown: it holds a password.
            users = add(users, line)
                .map_err(|error| format!("{name}, line {}: {error}", number + 1))?;
        }
    }
    if users.is_empty() {
        tracing::warn!("no user is listed: nobody will be let in");
    }
    Ok(Some(users))
}

fn add(users: Users, line: &str) -> Result<Users, Box<dyn Error>> {
    let (name, password) = line.split_once(':').ok_or("not NAME:PASSWORD")?;
    if name.is_empty() {
        return Err("the name is empty".into());
    }
    Ok(users.with(name, password)?)
}
