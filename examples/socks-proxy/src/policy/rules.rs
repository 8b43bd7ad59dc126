//! Rules: `allow` or `deny`, and to what it applies.

use std::str::FromStr;

use socks_tower::{Command, Match, Rules, Window};

use super::{
    groups::{Groups, Member},
    words::{Fault, words},
};
use crate::config::{Config, Ports};

/// `deny user=joe to=10.0.0.0/8,@office port=25`. All keys that are given must hold; the
/// values of one are alternatives.
#[derive(Clone)]
pub struct Rule {
    allows: bool,
    /// What does not depend on groups.
    on: Match,
    clients: Vec<Member>,
    to: Vec<Member>,
}

impl FromStr for Rule {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let mut words = words(text)?;
        let verdict = words.next();
        let allows = match verdict.as_ref().map(|word| (&*word.key, &word.values)) {
            Some(("allow", None)) => true,
            Some(("deny", None)) => false,
            _ => return Err("a rule begins with allow or deny".into()),
        };
        let mut rule = Self {
            allows,
            on: Match::any(),
            clients: Vec::new(),
            to: Vec::new(),
        };
        for word in words {
            let on = rule.on.clone();
            match &*word.key {
                "user" => rule.on = word.each(ok)?.into_iter().fold(on, Match::identity),
                "anonymous" if word.values.is_none() => rule.on = on.anonymous(),
                "client" => rule.clients = word.each(str::parse)?,
                "to" => rule.to = word.each(str::parse)?,
                "port" => {
                    let ports: Vec<Ports> = word.each(str::parse)?;
                    rule.on = ports.into_iter().fold(on, |on, ports| on.ports(ports.0));
                }
                "command" => rule.on = word.each(command)?.into_iter().fold(on, Match::command),
                "during" => {
                    let windows: Vec<Window> = word.each(str::parse)?;
                    rule.on = windows.into_iter().fold(on, Match::during);
                }
                other => {
                    let keys = "user=, anonymous, client=, to=, port=, command= and during=";
                    return Err(format!("{other:?} is none of a rule's keys: {keys}").into());
                }
            }
        }
        Ok(rule)
    }
}

fn ok(text: &str) -> Result<String, Fault> {
    Ok(text.to_owned())
}

fn command(text: &str) -> Result<Command, Fault> {
    match text {
        "connect" => Ok(Command::CONNECT),
        "bind" => Ok(Command::BIND),
        "udp" => Ok(Command::UDP_ASSOCIATE),
        "resolve" => Ok(Command::RESOLVE),
        "resolve-ptr" => Ok(Command::RESOLVE_PTR),
        _ => Err("not one of connect, bind, udp, resolve and resolve-ptr".into()),
    }
}

impl Rule {
    fn matching(&self, groups: &Groups) -> Result<Match, String> {
        let mut on = self.on.clone();
        for client in &self.clients {
            on = on.client_in(client.group(groups)?);
        }
        for to in &self.to {
            on = on.within(to.group(groups)?);
        }
        Ok(on)
    }
}

/// What may be reached: special-purpose addresses if they are allowed, and then by the first
/// rule that matches.
pub fn rules(config: &Config, groups: &Groups) -> Result<Rules, String> {
    let mut rules = Rules::new();
    if config.allow_private {
        rules = rules.permit_all_special();
    }
    for net in &config.allow {
        rules = rules.permit_special(net.0);
    }
    for (number, rule) in config.rule.iter().enumerate() {
        let on = rule.matching(groups).map_err(|error| {
            let at = config.said.member("rule", number);
            format!("{at}: {error}")
        })?;
        rules = if rule.allows {
            rules.allow(on)
        } else {
            rules.deny(on)
        };
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_or_what_is_wrong_is_said() {
        for rule in [
            "allow",
            "deny user=joe,ann to=10.0.0.0/8,*.corp.example,db.example port=25,80-90",
            "allow client=@office command=connect,udp during=\"mon-fri 08:00-17:30 +01:00\"",
            "deny anonymous",
        ] {
            assert!(rule.parse::<Rule>().is_ok(), "{rule}");
        }
        for (rule, why) in [
            ("", "begins with allow or deny"),
            ("permit to=x.example", "begins with allow or deny"),
            ("deny host=x.example", "\"host\" is none of a rule's keys"),
            ("deny to=10.0.0.0/33", "to=10.0.0.0/33"),
            ("deny port=0", "port=0"),
            ("deny command=fetch", "not one of connect"),
            ("deny during=noon", "during=noon"),
            ("deny user", "user wants a value"),
        ] {
            let error = rule.parse::<Rule>().map(drop).unwrap_err().to_string();
            assert!(error.contains(why), "{rule}: {error}");
        }
    }
}
