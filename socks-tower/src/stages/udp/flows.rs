//! The destinations of an association: a bounded table, from which the one that
//! has been idle for longest goes first.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::session::DropReason;

/// Datagrams that wait for one look-up.
const MAX_QUEUED: usize = 4;

/// Bytes that wait for look-ups in all.
const MAX_QUEUED_BYTES: usize = 256 * 1024;

/// How long a flow may go unused before its destination is looked up and
/// judged again: a NAT would have forgotten it, too.
const TTL: Duration = Duration::from_secs(5 * 60);

/// No slot: the end of the list.
const NONE: usize = usize::MAX;

/// The table. A flow is known by its destination as the client spells it, and
/// by the address that answers come from.
#[derive(Debug)]
pub(super) struct Flows {
    by_key: HashMap<Arc<[u8]>, usize>,
    by_peer: HashMap<SocketAddr, Peer>,
    /// Slots are reused, never freed: those in use are a list by last use.
    slots: Vec<Slot>,
    newest: usize,
    oldest: usize,
    max: usize,
    queued_bytes: usize,
    serial: u64,
}

#[derive(Debug)]
struct Slot {
    key: Arc<[u8]>,
    state: State,
    used: Instant,
    serial: u64,
    newer: usize,
    older: usize,
}

#[derive(Debug)]
pub(super) enum State {
    /// Its look-up is under way. What came meanwhile waits.
    Pending(Vec<Box<[u8]>>),
    Open {
        to: To,
        /// The generation of our own sockets that its address was compared with.
        checked: u64,
        /// When its name, if it has one, is to be looked up again.
        stale_at: Instant,
    },
    /// Not looked up again before then.
    Refused(DropReason, Instant),
}

/// Where the datagrams of a flow go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    Addr(SocketAddr),
    /// To the upstream, behind this header.
    Upstream(Arc<[u8]>),
}

/// An address that may answer: several names may have it.
#[derive(Debug)]
struct Peer {
    flows: usize,
    /// The last of them to be opened.
    slot: usize,
}

/// A flow whose look-up is under way. The slot may have another by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlowId {
    slot: usize,
    serial: u64,
}

/// A datagram that was not kept.
#[derive(Debug)]
pub(super) struct Full;

fn bytes(queue: &[Box<[u8]>]) -> usize {
    queue.iter().map(|datagram| datagram.len()).sum()
}

impl Flows {
    /// At most `max` flows, at least one.
    pub(super) fn new(max: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            by_peer: HashMap::new(),
            slots: Vec::new(),
            newest: NONE,
            oldest: NONE,
            max,
            queued_bytes: 0,
            serial: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The flow to `key`, used now; none if it has to be looked up.
    pub(super) fn find(&mut self, key: &[u8], now: Instant) -> Option<&mut State> {
        let &at = self.by_key.get(key)?;
        let slot = self.slots.get(at)?;
        let stale = match slot.state {
            State::Pending(_) => false,
            State::Open { .. } => now.saturating_duration_since(slot.used) > TTL,
            State::Refused(_, until) => until <= now,
        };
        if stale {
            return None;
        }
        self.touch(at, now);
        self.slots.get_mut(at).map(|slot| &mut slot.state)
    }

    /// Puts a flow to `key` into the table, or anew if there is one, and says
    /// how many datagrams that cost which were waiting.
    pub(super) fn insert(&mut self, key: &[u8], state: State, now: Instant) -> (FlowId, u64) {
        self.serial += 1;
        let serial = self.serial;
        let (at, lost) = match self.by_key.get(key) {
            Some(&at) => (at, self.clear(at)),
            None => self.place(key, now),
        };
        if let State::Open {
            to: To::Addr(peer), ..
        } = state
        {
            self.add_peer(peer, at);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            slot.state = state;
            slot.serial = serial;
        }
        self.touch(at, now);
        (FlowId { slot: at, serial }, lost)
    }

    /// Keeps `datagram` until the look-up of the flow to `key` has ended.
    pub(super) fn queue(&mut self, key: &[u8], datagram: &[u8]) -> Result<(), Full> {
        let room = MAX_QUEUED_BYTES - self.queued_bytes;
        let slot = self.by_key.get(key).and_then(|&at| self.slots.get_mut(at));
        match slot.map(|slot| &mut slot.state) {
            Some(State::Pending(queue)) if queue.len() < MAX_QUEUED && datagram.len() <= room => {
                queue.push(datagram.into());
                self.queued_bytes += datagram.len();
                Ok(())
            }
            _ => Err(Full),
        }
    }

    /// Ends the look-up of `id`; gives what waited for it. None, if the flow
    /// has been evicted meanwhile.
    pub(super) fn settle(&mut self, id: FlowId, state: State) -> Option<Vec<Box<[u8]>>> {
        let slot = self.slots.get_mut(id.slot)?;
        let State::Pending(queue) = &mut slot.state else {
            return None;
        };
        if slot.serial != id.serial {
            return None;
        }
        let queue = std::mem::take(queue);
        self.queued_bytes -= bytes(&queue);
        let opened = match state {
            State::Open {
                to: To::Addr(peer), ..
            } => Some(peer),
            State::Open { .. } | State::Pending(_) | State::Refused(..) => None,
        };
        slot.state = state;
        if let Some(peer) = opened {
            self.add_peer(peer, id.slot);
        }
        Some(queue)
    }

    /// The flow to `key`, whose name is about to be looked up again; once more
    /// not before `stale_at`, whatever comes of it.
    pub(super) fn renew(&mut self, key: &[u8], stale_at: Instant) -> Option<FlowId> {
        let &at = self.by_key.get(key)?;
        let slot = self.slots.get_mut(at)?;
        if let State::Open { stale_at: at, .. } = &mut slot.state {
            *at = stale_at;
        }
        let serial = slot.serial;
        Some(FlowId { slot: at, serial })
    }

    /// Where the flow `id` leads to by now; none if it leads nowhere, or is
    /// gone.
    pub(super) fn to(&self, id: FlowId) -> Option<To> {
        let slot = self.slots.get(id.slot)?;
        match &slot.state {
            State::Open { to, .. } if slot.serial == id.serial => Some(to.clone()),
            _ => None,
        }
    }

    /// Has the flow `id`, which is open, lead elsewhere from now on.
    pub(super) fn redirect(&mut self, id: FlowId, elsewhere: To, generation: u64) {
        let Some(old) = self.to(id) else {
            return;
        };
        if let To::Addr(old) = old {
            self.remove_peer(old);
        }
        if let To::Addr(new) = elsewhere {
            self.add_peer(new, id.slot);
        }
        if let Some(State::Open { to, checked, .. }) =
            self.slots.get_mut(id.slot).map(|slot| &mut slot.state)
        {
            (*to, *checked) = (elsewhere, generation);
        }
    }

    /// No longer sends to `key`, because of `reason`, before `until`.
    pub(super) fn refuse(&mut self, key: &[u8], reason: DropReason, until: Instant) {
        if let Some(&at) = self.by_key.get(key) {
            self.clear(at);
            if let Some(slot) = self.slots.get_mut(at) {
                slot.state = State::Refused(reason, until);
            }
        }
    }

    /// Whether `peer` may answer, which uses its flow now.
    pub(super) fn hears(&mut self, peer: SocketAddr, now: Instant) -> bool {
        let Some(&Peer { slot: at, .. }) = self.by_peer.get(&peer) else {
            return false;
        };
        // That flow may be gone, and another be left.
        let slot = self.slots.get(at).map(|slot| &slot.state);
        if matches!(slot, Some(State::Open { to: To::Addr(found), .. }) if *found == peer) {
            self.touch(at, now);
        }
        true
    }

    /// A slot for `key`: a new one, or that of the flow that has been idle for
    /// longest.
    fn place(&mut self, key: &[u8], now: Instant) -> (usize, u64) {
        let key: Arc<[u8]> = key.into();
        if self.slots.len() < self.max {
            let at = self.slots.len();
            self.slots.push(Slot {
                key: Arc::clone(&key),
                state: State::Pending(Vec::new()),
                used: now,
                serial: 0,
                newer: NONE,
                older: NONE,
            });
            self.by_key.insert(key, at);
            self.link(at);
            return (at, 0);
        }
        let at = self.oldest;
        let lost = self.clear(at);
        if let Some(slot) = self.slots.get_mut(at) {
            let evicted = std::mem::replace(&mut slot.key, Arc::clone(&key));
            self.by_key.remove(&evicted);
        }
        self.by_key.insert(key, at);
        (at, lost)
    }

    /// Empties a slot, and says how many datagrams were waiting in it.
    fn clear(&mut self, at: usize) -> u64 {
        let Some(slot) = self.slots.get_mut(at) else {
            return 0;
        };
        match std::mem::replace(&mut slot.state, State::Pending(Vec::new())) {
            State::Pending(queue) => {
                self.queued_bytes -= bytes(&queue);
                queue.len() as u64
            }
            State::Open {
                to: To::Addr(peer), ..
            } => {
                self.remove_peer(peer);
                0
            }
            State::Open { .. } | State::Refused(..) => 0,
        }
    }

    fn add_peer(&mut self, peer: SocketAddr, slot: usize) {
        let entry = self.by_peer.entry(peer);
        let entry = entry.or_insert(Peer { flows: 0, slot });
        entry.flows += 1;
        entry.slot = slot;
    }

    fn remove_peer(&mut self, peer: SocketAddr) {
        if let Some(entry) = self.by_peer.get_mut(&peer) {
            entry.flows -= 1;
            if entry.flows == 0 {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// Makes a slot the newest.
    fn touch(&mut self, at: usize, now: Instant) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.used = now;
        }
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
    }

    fn unlink(&mut self, at: usize) {
        let Some(&Slot { newer, older, .. }) = self.slots.get(at) else {
            return;
        };
        match self.slots.get_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, at: usize) {
        let older = self.newest;
        if let Some(slot) = self.slots.get_mut(at) {
            slot.newer = NONE;
            slot.older = older;
        }
        match self.slots.get_mut(older) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(number: u16) -> SocketAddr {
        SocketAddr::new([192, 0, 2, 1].into(), number)
    }

    fn open(number: u16) -> State {
        State::Open {
            to: To::Addr(peer(number)),
            checked: 0,
            stale_at: Instant::now(),
        }
    }

    fn pending() -> State {
        State::Pending(Vec::new())
    }

    /// Flows to the keys and peers of `numbers`, opened in this order.
    fn flows(max: usize, numbers: impl IntoIterator<Item = u16>) -> (Flows, Instant) {
        let mut flows = Flows::new(max);
        let now = Instant::now();
        for number in numbers {
            flows.insert(&number.to_be_bytes(), open(number), now);
        }
        (flows, now)
    }

    fn has(flows: &mut Flows, number: u16, now: Instant) -> bool {
        flows.find(&number.to_be_bytes(), now).is_some()
    }

    #[test]
    fn the_flow_that_has_been_idle_for_longest_goes_first() {
        let (mut flows, now) = flows(3, [1, 2, 3]);
        assert!(has(&mut flows, 1, now));
        flows.insert(&4_u16.to_be_bytes(), open(4), now);
        assert!(!flows.hears(peer(2), now), "2 was sent to before 1");
        assert!(flows.hears(peer(3), now));
        flows.insert(&5_u16.to_be_bytes(), open(5), now);
        assert!(!flows.hears(peer(1), now), "an answer keeps 3");
        assert!(flows.hears(peer(3), now) && flows.hears(peer(4), now));
        assert_eq!(flows.len(), 3);
    }

    #[test]
    fn an_address_may_answer_as_long_as_a_flow_leads_to_it() {
        let mut flows = Flows::new(2);
        let now = Instant::now();
        flows.insert(b"a.example", open(1), now);
        flows.insert(b"A.example", open(1), now);
        flows.insert(b"b.example", open(2), now);
        assert!(flows.hears(peer(1), now));
        flows.insert(b"c.example", open(3), now);
        flows.insert(b"d.example", open(4), now);
        assert!(!flows.hears(peer(1), now));
        assert_eq!(flows.by_peer.len(), 2);
    }

    #[test]
    fn a_flow_that_was_idle_for_too_long_is_looked_up_again() {
        let (mut flows, now) = flows(3, [1]);
        let later = now + TTL;
        assert!(has(&mut flows, 1, later), "in time, which counts anew");
        assert!(has(&mut flows, 1, later + TTL));
        assert!(!has(&mut flows, 1, later + TTL + TTL + TTL));
        flows.insert(&1_u16.to_be_bytes(), open(2), later);
        assert!(!flows.hears(peer(1), later) && flows.hears(peer(2), later));
        assert_eq!(flows.len(), 1);
    }

    #[test]
    fn what_waits_for_a_look_up_is_bounded() {
        let mut flows = Flows::new(100);
        let now = Instant::now();
        let (id, _) = flows.insert(b"a", pending(), now);
        for datagram in [b"1", b"2", b"3", b"4"] {
            flows.queue(b"a", datagram).unwrap();
        }
        flows.queue(b"a", b"5").unwrap_err();
        let waited = flows.settle(id, open(1)).unwrap();
        assert_eq!(waited.concat(), b"1234");

        let most = vec![0; MAX_QUEUED_BYTES / MAX_QUEUED];
        for key in [b"b", b"c"] {
            flows.insert(key, pending(), now);
        }
        for _ in 0..MAX_QUEUED {
            flows.queue(b"b", &most).unwrap();
        }
        flows.queue(b"c", b"6").unwrap_err();
        flows.queue(b"c", b"").unwrap();
    }

    #[test]
    fn a_look_up_that_ends_too_late_changes_nothing() {
        let mut flows = Flows::new(1);
        let now = Instant::now();
        let (first, _) = flows.insert(b"a", pending(), now);
        flows.queue(b"a", b"1").unwrap();
        let (second, lost) = flows.insert(b"b", pending(), now);
        assert_eq!(lost, 1);
        assert!(flows.settle(first, open(1)).is_none());
        assert!(!flows.hears(peer(1), now));
        assert!(flows.settle(second, open(2)).is_some());
        assert!(flows.settle(second, open(3)).is_none(), "once is enough");
        assert!(flows.hears(peer(2), now));
    }

    #[test]
    fn a_refusal_is_remembered_for_a_while() {
        let (mut flows, now) = flows(3, [1]);
        let until = now + Duration::from_secs(5);
        flows.refuse(&1_u16.to_be_bytes(), DropReason::Loop, until);
        assert!(!flows.hears(peer(1), now));
        let found = flows.find(&1_u16.to_be_bytes(), now);
        assert!(matches!(found, Some(State::Refused(DropReason::Loop, _))));
        assert!(!has(&mut flows, 1, until));
    }

    #[test]
    fn a_flow_that_leads_elsewhere_hears_the_new_address_alone() {
        let (mut flows, now) = flows(3, [1, 2]);
        let id = flows.renew(&1_u16.to_be_bytes(), now).unwrap();
        assert_eq!(flows.to(id), Some(To::Addr(peer(1))));
        flows.redirect(id, To::Addr(peer(9)), 0);
        assert_eq!(flows.to(id), Some(To::Addr(peer(9))));
        assert!(flows.hears(peer(9), now) && flows.hears(peer(2), now));
        assert!(!flows.hears(peer(1), now));

        // Another has its place by the time that the answer is there.
        flows.insert(&1_u16.to_be_bytes(), open(3), now);
        assert_eq!(flows.to(id), None);
        flows.redirect(id, To::Addr(peer(8)), 0);
        assert!(flows.hears(peer(3), now) && !flows.hears(peer(8), now));
        assert_eq!(flows.by_peer.len(), 2);
    }

    proptest! {
        /// Against the plainest table that there could be.
        #[test]
        fn it_does_what_a_plain_list_does(
            max in 1..6_usize,
            steps in proptest::collection::vec((0..10_u16, any::<bool>()), 0..60),
        ) {
            let (mut flows, now) = flows(max, []);
            let mut list: Vec<u16> = Vec::new();
            for (number, answered) in steps {
                let known = list.contains(&number);
                let found = if answered {
                    flows.hears(peer(number), now)
                } else {
                    has(&mut flows, number, now)
                };
                prop_assert_eq!(found, known);
                if answered && !known {
                    continue;
                }
                list.retain(|&other| other != number);
                list.push(number);
                if !known {
                    flows.insert(&number.to_be_bytes(), open(number), now);
                    if list.len() > max {
                        list.remove(0);
                    }
                }
                prop_assert_eq!(flows.len(), list.len());
                prop_assert_eq!(flows.by_peer.len(), list.len());
            }
        }
    }
}
