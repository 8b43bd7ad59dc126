//! What is open to whom, for the operator to see; and what is unwise about it.

use std::{
    io::{IsTerminal, stderr},
    path::Path,
};

use crate::{config::Config, listen};

/// Says it at the start: in the log, and to whoever sits before it.
pub fn tell(config: &Config) {
    let lines = lines(config);
    for line in &lines {
        tracing::info!("{line}");
    }
    if stderr().is_terminal() && !tracing::enabled!(tracing::Level::INFO) {
        lines.iter().for_each(|line| eprintln!("{line}"));
    }
    warn(config);
}

fn lines(config: &Config) -> Vec<String> {
    let protocols = if config.no_http {
        "SOCKS"
    } else {
        "SOCKS and HTTP"
    };
    let mut who = Vec::new();
    if config.has_users() {
        who.push("users with a password".to_owned());
    }
    if !config.open_to.is_empty() {
        who.push(format!("{:?} without one", config.open_to));
    }
    if who.is_empty() {
        who.push("whoever reaches it".to_owned());
    }
    let who = who.join(", ");
    let mut lines: Vec<_> = config
        .listen
        .iter()
        .map(|at| match &config.tls_client_ca {
            Some(_) if at.is_tls() => {
                format!("{at:?}: {protocols} for those who have a certificate")
            }
            _ => format!("{at:?}: {protocols} for {who}"),
        })
        .collect();
    lines.push(match (config.allow_private, config.allow.as_slice()) {
        (true, _) => "targets: all, private networks and this machine too".to_owned(),
        (false, []) => "targets: public addresses".to_owned(),
        (false, nets) => format!("targets: public addresses, and {nets:?}"),
    });
    let rules = config.rule.len();
    if rules > 0 {
        lines.push(format!(
            "rules: {rules}, of which the first that matches counts"
        ));
    }
    if !config.upstream.is_empty() {
        lines.push(format!("through: {:?}", config.upstream));
    }
    lines
}

/// What an operator may not have meant.
pub fn warn(config: &Config) {
    for warning in warnings(config) {
        tracing::warn!("{warning}");
    }
}

fn warnings(config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |key: &str, why: &str| all.push(format!("{}: {why}", config.said.at(key)));
    let exposed = listen::exposed(config);
    let everywhere = |nets: &[_]| {
        nets.iter()
            .any(|net: &crate::config::Text<crate::config::Net>| net.0.prefix_len() == 0)
    };
    let is_open =
        !config.has_users() && config.open_to.is_empty() && config.tls_client_ca.is_none();
    if exposed && is_open && config.open {
        add(
            "open",
            "anybody who reaches this proxy can use it, and you answer for it: \
             --user, --users or --open-to closes it",
        );
    }
    if everywhere(&config.open_to) {
        add("open-to", "that is everybody: passwords keep nobody out");
    }
    if exposed && config.allow_private {
        add(
            "allow-private",
            "clients of other machines reach what listens on this one alone: \
             --allow lets one network through instead",
        );
    }
    if everywhere(&config.proxy_protocol) {
        add(
            "proxy-protocol",
            "whoever connects says what address it has: name the load balancers alone",
        );
    }
    if listen::exposed_in_clear(config) && config.has_users() {
        add(
            "listen",
            "passwords cross the network in clear: tls:// in front of the address encrypts them",
        );
    }
    let secrets = [("users", &config.users), ("tls-key", &config.tls_key)];
    for (key, file) in secrets {
        if let Some(file) = file.as_deref().filter(|file| others_read(file)) {
            add(
                key,
                &format!(
                    "all users of this machine can read it: chmod o-r {}",
                    file.display()
                ),
            );
        }
    }
    all
}

#[cfg(unix)]
fn others_read(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    let metadata = file.metadata();
    metadata.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn others_read(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_open_to_whom_is_said() {
        let lines = lines(&of(
            "listen = [\"127.0.0.1:1080\", \"tls://0.0.0.0:1443\"]\nuser = [\"joe:s3cret\"]
             open-to = [\"10.0.0.0/8\"]\nallow = [\"192.168.1.0/24\"]\nrule = [\"deny port=25\"]",
        ));
        assert_eq!(
            lines,
            [
                "127.0.0.1:1080: SOCKS and HTTP for users with a password, [10.0.0.0/8] without one",
                "tls://0.0.0.0:1443: SOCKS and HTTP for users with a password, [10.0.0.0/8] without one",
                "targets: public addresses, and [192.168.1.0/24]",
                "rules: 1, of which the first that matches counts",
            ]
        );
    }

    #[test]
    fn what_is_risky_is_warned_of_and_what_is_not_is_not() {
        for (text, key) in [
            ("listen = [\"0.0.0.0:1080\"]\nopen = true", "--open: "),
            ("open-to = [\"0.0.0.0/0\"]", "--open-to: "),
            (
                "listen = [\"0.0.0.0:1080\"]\nopen-to = [\"10.0.0.0/8\"]\nallow-private = true",
                "--allow-private: ",
            ),
            ("proxy-protocol = [\"::/0\"]", "--proxy-protocol: "),
            (
                "listen = [\"0.0.0.0:1080\"]\nuser = [\"joe:x\"]",
                "--listen: ",
            ),
        ] {
            let warnings = warnings(&of(text));
            assert!(
                warnings.len() == 1 && warnings[0].starts_with(key),
                "{warnings:?}"
            );
        }
        for text in [
            "",
            "open = true\nallow-private = true",
            "listen = [\"tls://0.0.0.0:1443\"]\nuser = [\"joe:x\"]",
            "listen = [\"0.0.0.0:1080\"]\nopen-to = [\"10.0.0.0/8\"]",
        ] {
            assert_eq!(warnings(&of(text)), [""; 0], "{text}");
        }
    }
}
