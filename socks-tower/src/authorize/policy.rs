//! What [`Rules`](super::Rules) are made of.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use ipnet::IpNet;
use socks_core::v5::Command;

use super::{
    Denied, Match,
    clock::Clock,
    facts::Facts,
    index::Index,
    networks::canonical,
    special_purpose,
    values::{FEW, Values},
};

#[derive(Default)]
pub(super) struct Policy {
    special: Special,
    rules: Vec<Rule>,
    pub(super) deny_by_default: bool,
    pub(super) about_names: bool,
    pub(super) clock: Clock,
    /// Made when it is first needed.
    index: OnceLock<Index>,
}

/// Which special-purpose addresses may be reached.
#[derive(Clone, Debug)]
enum Special {
    Within(Values<IpNet>),
    All,
}

impl Default for Special {
    fn default() -> Self {
        Self::Within(Values::default())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) verdict: Verdict,
    on: Match,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Deny,
}

impl Policy {
    pub(super) fn push(&mut self, verdict: Verdict, on: Match) {
        self.about_names |= on.is_about_names();
        self.rules.push(Rule { verdict, on });
        self.index = OnceLock::new();
    }

    pub(super) fn permit_special(&mut self, net: IpNet) {
        if let Special::Within(nets) = &mut self.special {
            nets.push(canonical(net));
        }
    }

    pub(super) fn permit_all_special(&mut self) {
        self.special = Special::All;
    }

    pub(super) fn permits_all_special(&self) -> bool {
        matches!(self.special, Special::All)
    }

    pub(super) fn judge_special(&self, ip: IpAddr, command: Command) -> Result<(), Denied> {
        // BIND's way to say "whoever comes"; who comes is judged then.
        if command == Command::BIND && ip.is_unspecified() {
            return Ok(());
        }
        let Some(purpose) = special_purpose(ip) else {
            return Ok(());
        };
        match &self.special {
            Special::Within(nets) if !nets.any_holds(&ip) => {
                Err(Denied::SpecialPurpose { ip, purpose })
            }
            Special::Within(_) | Special::All => Ok(()),
        }
    }

    /// The rule that decides, and its number, from 0.
    pub(super) fn first(&self, facts: &Facts<'_>) -> Option<(usize, &Rule)> {
        let mut rules = self.rules.iter().enumerate();
        if self.rules.len() <= FEW {
            return rules.find(|(_, rule)| rule.holds(facts));
        }
        let rule = |number: u32| self.rules.get(number as usize);
        let holds = |number| rule(number).is_some_and(|rule| rule.holds(facts));
        let number = self.index().first(facts, holds)? as usize;
        rules.nth(number)
    }

    /// Makes now what would be made when it is first asked.
    pub(super) fn prepare(&self) {
        if let Special::Within(nets) = &self.special {
            nets.prepare();
        }
        for rule in &self.rules {
            rule.on.prepare();
        }
        if self.rules.len() > FEW {
            self.index();
        }
    }

    fn index(&self) -> &Index {
        self.index
            .get_or_init(|| Index::new(self.rules.iter().map(|rule| &rule.on)))
    }
}

/// A copy is made to be changed, so the index is left behind.
impl Clone for Policy {
    fn clone(&self) -> Self {
        Self {
            special: self.special.clone(),
            rules: self.rules.clone(),
            deny_by_default: self.deny_by_default,
            about_names: self.about_names,
            clock: self.clock.clone(),
            index: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("special", &self.special)
            .field("rules", &self.rules)
            .field("deny_by_default", &self.deny_by_default)
            .finish_non_exhaustive()
    }
}

impl Rule {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        self.on.holds(facts, self.counts_detours())
    }

    /// The name of a group that it holds by.
    pub(super) fn group_of(&self, facts: &Facts<'_>) -> Option<Arc<str>> {
        self.on.group_of(facts, self.counts_detours())
    }

    /// What is denied is denied by every way there; what is allowed is allowed
    /// by the straight one.
    fn counts_detours(&self) -> bool {
        self.verdict == Verdict::Deny
    }
}
