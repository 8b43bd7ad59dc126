//! An association at work: datagrams, and where they go.

use std::{
    borrow::Cow,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    flows::{FlowId, Flows, Full, State, To},
    lookups::{Lookups, Verdict},
    own,
    reassembly::{Outcome, Reassembly},
    socket::{Outward, Socket},
    source::Source,
    upstream::{self, Upstream},
};
use crate::{
    session::{
        Datagrams, DropReason, Judge, Pinned, Session, WrapsDatagrams, canonical, give_way,
        policy::{Direction, Policy},
        udp::{
            batch::{self, Batch, Sent, send_one},
            header::{self, Parts},
        },
        watch::Watch,
    },
    works::upstream::Relay,
};

/// Batches in a row before other tasks have their turn.
const ROUNDS: usize = 8;

/// How long a destination that was refused after a wait is not asked about
/// again. A client's own retries come about so fast.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// How long the addresses of a name count: no resolver here says how long they
/// do. A peer that moves comes back so soon.
const NAME_TTL: Duration = Duration::from_secs(60);

pub(super) struct Association<J> {
    pub(super) client: Socket,
    pub(super) outward: Outward,
    /// None, if datagrams go to their destinations directly.
    pub(super) upstream: Option<Box<Upstream>>,
    pub(super) source: Source,
    pub(super) flows: Flows,
    pub(super) reassembly: Option<Reassembly>,
    pub(super) lookups: Lookups<J>,
    pub(super) full_cone: bool,
    /// What the client's method makes of datagrams.
    pub(super) wrapper: Option<WrapsDatagrams>,
    pub(super) carried: Carried,
}

/// What has been carried so far.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) datagrams: Datagrams,
    /// When a datagram last went through.
    pub(super) active: Instant,
    policy: Policy,
    watch: Watch,
    /// What `watch` has been told of `datagrams`. Boxed, as most are not watched.
    told: Option<Box<Datagrams>>,
    /// A throttle will grant no more.
    pub(super) is_exhausted: bool,
}

impl Carried {
    pub(super) fn new(session: &Session, now: Instant) -> Self {
        Self {
            up: 0,
            down: 0,
            datagrams: Datagrams::default(),
            active: now,
            policy: session.policy.clone(),
            watch: session.watch.clone(),
            told: None,
            is_exhausted: false,
        }
    }

    /// The client has had its reply.
    pub(super) fn established(&self) {
        self.watch.established(None);
    }

    /// Tells who watches what has come of datagrams since.
    fn tell(&mut self) {
        if self.watch.is_none() {
            return;
        }
        let told = self.told.get_or_insert_default();
        let more = self.datagrams.since(told);
        if !more.is_empty() {
            self.watch.datagrams(&more);
            **told = self.datagrams;
        }
    }

    fn drop(&mut self, reason: DropReason, datagrams: u64) {
        self.datagrams.dropped.add(reason, datagrams);
    }

    /// Whether a datagram of so many bytes may pass.
    fn grants(&mut self, direction: Direction, bytes: usize) -> bool {
        if self.policy.is_empty() || self.policy.try_grant(direction, bytes as u64) {
            return true;
        }
        self.drop(DropReason::Throttled, 1);
        self.is_exhausted |= self.policy.is_exhausted();
        false
    }

    /// A datagram of so many bytes cannot be wrapped.
    fn unwrappable(&mut self, direction: Direction, bytes: usize) {
        self.drop(DropReason::Unprotected, 1);
        self.policy.give_back(direction, bytes.max(1) as u64);
    }

    fn sent(&mut self, direction: Direction, sent: Sent) {
        let (bytes, datagrams) = match direction {
            Direction::Up => (&mut self.up, &mut self.datagrams.up),
            Direction::Down => (&mut self.down, &mut self.datagrams.down),
        };
        *bytes += sent.bytes;
        *datagrams += sent.datagrams;
        self.drop(DropReason::TooLong, sent.too_long);
        self.drop(DropReason::Unsendable, sent.unsendable);
        self.policy.record(direction, sent.bytes);
        self.policy.give_back(direction, sent.unsent_bytes);
    }

    fn sent_up(&mut self, sent: Sent, now: Instant) {
        self.sent(Direction::Up, sent);
        if sent.datagrams > 0 {
            self.active = now;
        }
    }
}

impl Drop for Carried {
    /// However the association ends: one that is cut has no `Transfer`.
    fn drop(&mut self) {
        let told = self.told.as_deref().copied().unwrap_or_default();
        self.watch.datagrams(&self.datagrams.since(&told));
    }
}

fn opened(to: To, checked: u64, now: Instant) -> State {
    State::Open {
        to,
        checked,
        stale_at: now + NAME_TTL,
    }
}

/// Whether a flow that leads `to` somewhere does so still, by what is known now.
fn leads(pinned: &Pinned, to: &To) -> bool {
    match to {
        To::Addr(addr) => pinned.addrs().contains(addr),
        To::Upstream(header) => upstream::headers(pinned).any(|new| *new == **header),
    }
}

impl<J: Judge> Association<J> {
    /// Moves datagrams until there are none, or it is another task's turn.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        batch::with(|batch| self.poll_with(cx, batch));
        self.carried.tell();
    }

    fn poll_with(&mut self, cx: &mut Context<'_>, batch: &mut Batch) {
        let (mut up, mut down) = (true, true);
        for _ in 0..ROUNDS {
            // In this order: what opens a socket comes before it is read. One that had
            // nothing tells of what comes.
            let found = self.poll_lookups(cx);
            up = up && self.poll_up(cx, batch);
            down = (down || up || found) && self.poll_down(cx, batch);
            if !(up || down || found) {
                return;
            }
        }
        give_way(cx);
    }

    fn poll_up(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> bool {
        let Poll::Ready(count) = batch.poll_receive(&self.client, cx) else {
            return false;
        };
        let now = Instant::now();
        batch.clear();
        for at in 0..count {
            if self.wrapper.is_some() && !self.unwrap(batch, at) {
                continue;
            }
            let Some((datagram, from)) = batch.datagram(at) else {
                continue;
            };
            match self.take(datagram, from, now) {
                Ok(Some((to, data))) => {
                    if self.carried.grants(Direction::Up, data) {
                        self.list(batch, at, data, &to, now);
                    }
                }
                Ok(None) => {}
                Err(reason) => self.carried.drop(reason, 1),
            }
        }
        for socket in self.outward.open() {
            let sent = batch.send(socket);
            self.carried.sent_up(sent, now);
        }
        true
    }

    /// Unwraps the datagram at `at`, unless it is a stranger's, for whom no work is done;
    /// false if it is dropped.
    fn unwrap(&mut self, batch: &mut Batch, at: usize) -> bool {
        let (Some(wrapper), Some((_, from))) = (&self.wrapper, batch.datagram(at)) else {
            return false;
        };
        if !self.source.admits(from) || batch.unwrap(at, wrapper) {
            return true;
        }
        self.carried.drop(DropReason::Unprotected, 1);
        false
    }

    /// Says where a datagram goes, and how many bytes of it; none if it waits,
    /// or has gone already.
    fn take(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Result<Option<(To, usize)>, DropReason> {
        if !self.source.admits(from) {
            return Err(DropReason::NotTheClient);
        }
        let Parts {
            fragment,
            key,
            data,
        } = Parts::split(datagram).ok_or(DropReason::Malformed)?;
        if fragment.is_standalone() {
            let abandoned = self.reassembly.as_mut().map_or(0, Reassembly::abandon);
            self.carried.drop(DropReason::Fragment, abandoned);
            let to = self.route(key, data, from, now)?;
            return Ok(to.map(|to| (to, data.len())));
        }
        let reassembly = self.reassembly.as_mut().ok_or(DropReason::Fragment)?;
        let (outcome, abandoned) = reassembly.take(fragment, key, data, now);
        self.carried.drop(DropReason::Fragment, abandoned);
        match outcome {
            Outcome::Kept => Ok(None),
            Outcome::Refused => Err(DropReason::Fragment),
            Outcome::Whole(data) => {
                if let Some(to) = self.route(key, &data, from, now)? {
                    self.send(&data, &to, now);
                }
                Ok(None)
            }
        }
    }

    /// Says where a datagram for the destination `key` goes; none if it waits
    /// for that.
    fn route(
        &mut self,
        key: &[u8],
        data: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Result<Option<To>, DropReason> {
        match self.flows.find(key, now) {
            Some(State::Open {
                to,
                checked,
                stale_at,
            }) => {
                let is_stale = *stale_at <= now;
                // Read before it is looked up, so that nothing is missed.
                let generation = own::generation();
                if *checked != generation {
                    *checked = generation;
                    if matches!(to, To::Addr(addr) if own::is_own(*addr)) {
                        let until = now + REFUSED_FOR;
                        self.flows.refuse(key, DropReason::Loop, until);
                        return Err(DropReason::Loop);
                    }
                }
                let to = to.clone();
                if is_stale && header::is_name(key) && !self.lookups.is_busy() {
                    return Ok(Some(self.renew(key, to, now)));
                }
                Ok(Some(to))
            }
            Some(State::Pending(_)) => match self.flows.queue(key, data) {
                Ok(()) => Ok(None),
                Err(Full) => Err(DropReason::Overload),
            },
            Some(State::Refused(reason, _)) => Err(*reason),
            None => self.admit(key, data, from, now),
        }
    }

    /// Asks the judge about a new destination.
    fn admit(
        &mut self,
        key: &[u8],
        data: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Result<Option<To>, DropReason> {
        let target = header::target(key).ok_or(DropReason::Malformed)?;
        // Not before: whoever sends no header that can be read is no client.
        self.source.pin(from);
        self.client.connect(from);
        if target.port == 0 {
            return Err(DropReason::Unsendable);
        }
        match self.lookups.ask(target) {
            // An address that is refused at once can be asked about again, and
            // takes nobody's place in the table.
            Ok(verdict) => {
                let (to, checked) = self.choose(&verdict?)?;
                let state = opened(to.clone(), checked, now);
                let (_, lost) = self.flows.insert(key, state, now);
                self.carried.drop(DropReason::Overload, lost);
                Ok(Some(to))
            }
            Err(Some(judging)) => {
                let state = State::Pending(Vec::new());
                let (id, lost) = self.flows.insert(key, state, now);
                self.carried.drop(DropReason::Overload, lost);
                self.lookups.wait(judging, id);
                match self.flows.queue(key, data) {
                    Ok(()) => Ok(None),
                    Err(Full) => Err(DropReason::Overload),
                }
            }
            Err(None) => Err(DropReason::Overload),
        }
    }

    /// Looks a name up again; says where its datagrams go meanwhile.
    fn renew(&mut self, key: &[u8], to: To, now: Instant) -> To {
        let id = self.flows.renew(key, now + NAME_TTL);
        let (Some(id), Some(target)) = (id, header::target(key)) else {
            return to;
        };
        match self.lookups.ask(target) {
            Ok(verdict) => self.renewed(id, to, verdict),
            Err(Some(judging)) => {
                self.lookups.wait(judging, id);
                to
            }
            Err(None) => to,
        }
    }

    /// What the name of a flow that leads `to` somewhere stands for has been looked
    /// up again; says where its datagrams go from now on.
    ///
    /// A look-up that fails, or that the judge denies, changes nothing, and
    /// neither does one that has the old address among others: servers that take turns
    /// do not know of each other's clients.
    fn renewed(&mut self, id: FlowId, to: To, verdict: Verdict) -> To {
        let moved = verdict.ok().filter(|pinned| !leads(pinned, &to));
        let chosen = moved.and_then(|pinned| self.choose(&pinned).ok());
        let Some((elsewhere, generation)) = chosen else {
            return to;
        };
        self.flows.redirect(id, elsewhere.clone(), generation);
        elsewhere
    }

    /// The first address that can be sent to, and the generation of our own
    /// sockets that it is none of.
    fn choose(&mut self, pinned: &Pinned) -> Result<(To, u64), DropReason> {
        if self.upstream.is_some() {
            let header = upstream::headers(pinned).next();
            let header = header.ok_or(DropReason::Unsendable)?;
            return Ok((To::Upstream(header.into()), own::generation()));
        }
        let mut reason = DropReason::Unsendable;
        let addrs = pinned.addrs();
        for &addr in addrs {
            let generation = own::generation();
            if own::is_own(addr) {
                reason = DropReason::Loop;
                continue;
            }
            // With one address, the system says soon enough.
            let reachable = addrs.len() == 1 || self.outward.has_route(addr);
            if addr.port() != 0 && reachable && self.outward.open_towards(addr).is_ok() {
                return Ok((To::Addr(addr), generation));
            }
        }
        Err(reason)
    }

    fn poll_lookups(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready(Some((id, verdict))) = self.lookups.poll_next(cx) {
            moved = true;
            let now = Instant::now();
            if let Some(to) = self.flows.to(id) {
                self.renewed(id, to, verdict);
                continue;
            }
            let chosen = verdict.and_then(|pinned| self.choose(&pinned));
            let state = match &chosen {
                Ok((to, checked)) => opened(to.clone(), *checked, now),
                Err(reason) => State::Refused(*reason, now + REFUSED_FOR),
            };
            for data in self.flows.settle(id, state).unwrap_or_default() {
                match &chosen {
                    Ok((to, _)) => self.send(&data, to, now),
                    Err(reason) => self.carried.drop(*reason, 1),
                }
            }
        }
        moved
    }

    /// Lists the datagram at `at`, which is granted.
    fn list(&mut self, batch: &mut Batch, at: usize, data: usize, to: &To, now: Instant) {
        let (header, upstream) = match (to, &self.upstream) {
            (To::Addr(addr), _) => return batch.forward(at, data, *addr),
            (To::Upstream(header), Some(upstream)) => (header, upstream),
            (To::Upstream(_), None) => return,
        };
        let Relay { addr, wrapper } = &upstream.relay;
        if batch.readdress(at, data, header, *addr) {
            if let Some(wrapper) = wrapper
                && !batch.wrap_last(wrapper)
            {
                self.carried.unwrappable(Direction::Up, data);
            }
            return;
        }
        // A name in its place is longer than there is room for.
        let datagram = batch.datagram(at).map(|(datagram, _)| datagram);
        let data = datagram.and_then(|bytes| bytes.get(bytes.len().checked_sub(data)?..));
        self.send_granted(data.unwrap_or_default(), to, now);
    }

    fn send(&mut self, data: &[u8], to: &To, now: Instant) {
        if self.carried.grants(Direction::Up, data.len()) {
            self.send_granted(data, to, now);
        }
    }

    fn send_granted(&mut self, data: &[u8], to: &To, now: Instant) {
        let (bytes, addr) = match (to, &self.upstream) {
            (To::Addr(addr), _) => (Some(Cow::Borrowed(data)), *addr),
            (To::Upstream(header), Some(upstream)) => {
                let relay = &upstream.relay;
                let wrapped = relay.wrap([header, data].concat());
                (wrapped.map(Cow::Owned), relay.addr)
            }
            (To::Upstream(_), None) => return,
        };
        let Some(bytes) = bytes else {
            return self.carried.unwrappable(Direction::Up, data.len());
        };
        if let Some(socket) = self.outward.towards(addr) {
            let mut sent = Sent::default();
            sent.add(&send_one(socket, &bytes, addr), data.len());
            self.carried.sent_up(sent, now);
        }
    }

    /// Ready once the upstream has ended the association.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.upstream {
            Some(upstream) => upstream.poll_ended(cx),
            None => Poll::Pending,
        }
    }

    fn poll_down(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> bool {
        let mut moved = false;
        for socket in self.outward.open() {
            let Poll::Ready(count) = batch.poll_receive(socket, cx) else {
                continue;
            };
            moved = true;
            let now = Instant::now();
            batch.clear();
            for at in 0..count {
                let (from, data) = match &self.upstream {
                    Some(upstream) => match upstream.take(batch, at) {
                        Ok(data) => (None, data),
                        Err(reason) => {
                            self.carried.drop(reason, 1);
                            continue;
                        }
                    },
                    None => {
                        let Some((_, from)) = batch.datagram(at) else {
                            continue;
                        };
                        let from = canonical(from);
                        if !self.flows.hears(from, now) && !self.full_cone {
                            self.carried.drop(DropReason::Unsolicited, 1);
                            continue;
                        }
                        (Some(from), batch.len(at))
                    }
                };
                let Some(client) = self.source.addr() else {
                    self.carried.drop(DropReason::Unsolicited, 1);
                    continue;
                };
                if !self.carried.grants(Direction::Down, data) {
                    continue;
                }
                match from {
                    Some(from) => batch.answer(at, from, client),
                    None => batch.pass(at, data, client),
                }
                if let Some(wrapper) = &self.wrapper
                    && !batch.wrap_last(wrapper)
                {
                    self.carried.unwrappable(Direction::Down, data);
                }
            }
            let sent = batch.send(&self.client);
            self.carried.sent(Direction::Down, sent);
            // Strangers do not keep it alive.
            if sent.datagrams > 0 && !self.full_cone && self.upstream.is_none() {
                self.carried.active = now;
            }
        }
        moved
    }
}
