use std::{ops::RangeInclusive, sync::Arc};

use socks_core::v5::Command;

use super::{Group, Window, facts::Facts};

/// The conditions of a [`Match`](super::Match) that rules are not found by. Of
/// ten thousand rules few have any, so they are kept apart: what is asked for
/// most requests then lies close together.
#[derive(Clone, Debug, Default)]
pub(super) struct Unfiled {
    pub(super) commands: Vec<Command>,
    pub(super) ports: Vec<RangeInclusive<u16>>,
    /// One condition with the networks of clients, which the match has.
    pub(super) client_groups: Vec<Group>,
    pub(super) groups: Vec<Group>,
    pub(super) windows: Vec<Window>,
}

impl Unfiled {
    /// Whether all of them hold, but that about clients.
    pub(super) fn holds(&self, facts: &Facts<'_>, detours: bool) -> bool {
        one_of(&self.ports, |range| range.contains(&facts.port))
            && one_of(&self.commands, |command| *command == facts.command)
            && one_of(&self.groups, |group| holds_target(group, facts, detours))
            && one_of(&self.windows, |window| window.contains(facts.moment.time()))
    }

    pub(super) fn has_names(&self) -> bool {
        self.groups.iter().any(Group::has_names)
    }

    /// The name of a group that the target is in, or the client.
    pub(super) fn group_of(&self, facts: &Facts<'_>, detours: bool) -> Option<Arc<str>> {
        let mut groups = self.groups.iter();
        let target = groups.find(|group| holds_target(group, facts, detours));
        let client = || {
            let ip = facts.client()?;
            let mut groups = self.client_groups.iter();
            groups.find(|group| group.holds_client(ip))
        };
        Some(target.or_else(client)?.shared_name())
    }

    pub(super) fn prepare(&self) {
        for group in self.groups.iter().chain(&self.client_groups) {
            group.prepare();
        }
    }
}

fn holds_target(group: &Group, facts: &Facts<'_>, detours: bool) -> bool {
    group.holds_target(facts.name, facts.ip, detours)
}

/// A condition of which no value is given always holds.
fn one_of<T>(values: &[T], holds: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(holds)
}
