//! `socks-proxy hash`: a line for `--users`.

use std::{
    error::Error,
    io::{self, BufRead, IsTerminal, Read, Write},
};

use socks_tower::{
    HashedUsers,
    stages::authenticate::password_file::{Scheme, hash_password},
};

use crate::config::NewUser;

/// Prints the line. The password is no argument: others could see it.
pub fn run(user: &NewUser) -> Result<(), Box<dyn Error>> {
    let name = &user.name;
    if name.starts_with('#') || name.contains([':', '\r', '\n']) {
        return Err("a name has no colon and no line end in it, and does not begin with #".into());
    }
    let password = if io::stdin().is_terminal() {
        asked()?
    } else {
        piped()?
    };
    let scheme = match user.bcrypt {
        Some(cost) => Scheme::Bcrypt { cost },
        None => Scheme::default(),
    };
    let hash = hash_password(&password, scheme)?;
    // Nobody could be listed by it otherwise.
    HashedUsers::new().with_hash(name, &hash)?;
    writeln!(io::stdout(), "{name}:{hash}")?;
    Ok(())
}

fn asked() -> Result<String, Box<dyn Error>> {
    let password = rpassword::prompt_password("Password: ")?;
    if rpassword::prompt_password("Again: ")? != password {
        return Err("the passwords differ".into());
    }
    Ok(password)
}

/// The first line of standard input.
fn piped() -> io::Result<String> {
    // More than a password may have, and a line end.
    let mut line = String::new();
    io::stdin().lock().take(1024).read_line(&mut line)?;
    // Some shells begin what they pipe with a byte order mark.
    let password = line.strip_prefix('\u{feff}').unwrap_or(&line);
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}
