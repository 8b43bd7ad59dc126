//! What [`Rules`](super::Rules) are made of.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use ipnet::IpNet;
use socks_core::v5::Command;

use super::{Match, matches::Facts};
use crate::works::authorize::{
    denied::Denied,
    index::{FEW, Found, Index, Values, canonical},
    special::SpecialPurpose,
    window::Clock,
};

#[derive(Default)]
pub(super) struct List {
    special: Special,
    /// Apart from the rules, of which most requests need no more than this: of
    /// ten thousand, that fits into the caches.
    heads: Vec<Head>,
    rules: Vec<Match>,
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

#[derive(Clone, Copy, Debug)]
struct Head {
    verdict: Verdict,
    /// It has one kind of condition, which the index knows: it holds for what
    /// finds it there.
    is_plain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Deny,
}

impl List {
    pub(super) fn push(&mut self, verdict: Verdict, on: Match) {
        self.about_names |= on.is_about_names();
        self.heads.push(Head {
            verdict,
            is_plain: on.is_plain(),
        });
        self.rules.push(on);
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

    pub(super) fn judge_special(
        &self,
        ip: IpAddr,
        port: u16,
        command: Command,
    ) -> Result<(), Denied> {
        // BIND's way to say "whoever comes"; who comes is judged then. And so are the
        // destinations of an association, which has none itself.
        let names_nobody = match command {
            Command::BIND => true,
            Command::UDP_ASSOCIATE => port == 0,
            _ => false,
        };
        if names_nobody && ip.is_unspecified() {
            return Ok(());
        }
        let Some(purpose) = SpecialPurpose::of(ip) else {
            return Ok(());
        };
        match &self.special {
            Special::Within(nets) if !nets.any_holds(&ip) => {
                Err(Denied::SpecialPurpose { ip, purpose })
            }
            Special::Within(_) | Special::All => Ok(()),
        }
    }

    /// The number of the rule that decides, from 0, and what it says.
    pub(super) fn first(&self, facts: &Facts<'_>) -> Option<(usize, Verdict)> {
        let number = if self.rules.len() <= FEW {
            (0..self.rules.len()).find(|&number| self.holds(number, facts))?
        } else {
            let holds = |number, found| match found {
                Found::ByItself if self.is_plain(number) => true,
                _ => self.holds(number, facts),
            };
            self.index().first(&facts.asked(), holds)?
        };
        Some((number, self.heads.get(number)?.verdict))
    }

    fn is_plain(&self, number: usize) -> bool {
        self.heads.get(number).is_some_and(|head| head.is_plain)
    }

    fn holds(&self, number: usize, facts: &Facts<'_>) -> bool {
        let rule = self.rule(number);
        rule.is_some_and(|(on, detours)| on.holds(facts, detours))
    }

    /// What the rule applies to, and whether that counts detours.
    fn rule(&self, number: usize) -> Option<(&Match, bool)> {
        let head = self.heads.get(number)?;
        Some((self.rules.get(number)?, head.verdict.counts_detours()))
    }

    /// The name of a group that the rule holds by.
    pub(super) fn group_of(&self, number: usize, facts: &Facts<'_>) -> Option<Arc<str>> {
        if self.is_plain(number) {
            return None;
        }
        let (on, detours) = self.rule(number)?;
        on.group_of(facts, detours)
    }

    /// Makes now what would be made when it is first asked.
    pub(super) fn prepare(&self) {
        if let Special::Within(nets) = &self.special {
            nets.prepare();
        }
        for rule in &self.rules {
            rule.prepare();
        }
        if self.rules.len() > FEW {
            self.index();
        }
    }

    fn index(&self) -> &Index {
        self.index
            .get_or_init(|| Index::new(self.rules.iter().map(Match::conditions)))
    }
}

/// A copy is made to be changed, so the index is left behind.
impl Clone for List {
    fn clone(&self) -> Self {
        Self {
            special: self.special.clone(),
            heads: self.heads.clone(),
            rules: self.rules.clone(),
            deny_by_default: self.deny_by_default,
            about_names: self.about_names,
            clock: self.clock.clone(),
            index: OnceLock::new(),
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdicts = self.heads.iter().map(|head| head.verdict);
        let rules: Vec<_> = verdicts.zip(&self.rules).collect();
        f.debug_struct("List")
            .field("special", &self.special)
            .field("rules", &rules)
            .field("deny_by_default", &self.deny_by_default)
            .finish_non_exhaustive()
    }
}

impl Verdict {
    /// What is denied is denied by every way there; what is allowed is allowed
    /// by the straight one.
    fn counts_detours(self) -> bool {
        self == Self::Deny
    }
}
