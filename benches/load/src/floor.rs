//! What the kernel itself allows: a bare relay on one epoll loop, without
//! rules, timers, names or logs. It serves SOCKS5 to well-behaved clients.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::fd::OwnedFd,
};

use anyhow::Result;
use clap::ValueEnum;
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with,
        connect, recv, send, shutdown, socket_with, sockopt,
    },
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};

use crate::proxy::USER;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Through one buffer of 64 KiB
    Copy,
    /// Through a pipe of 1 MiB for each direction
    Splice,
    /// By copying, until a read fills 16 KiB; then through a pipe of 256 KiB
    Hybrid,
}

impl Mode {
    fn buffer(self) -> usize {
        match self {
            Self::Copy | Self::Splice => 64 * 1024,
            Self::Hybrid => 16 * 1024,
        }
    }

    fn pipe(self) -> usize {
        match self {
            Self::Copy | Self::Splice => 1024 * 1024,
            Self::Hybrid => 256 * 1024,
        }
    }
}

const CLIENT: usize = 0;
const TARGET: usize = 1;
const LISTENER: u64 = u64::MAX;
const NONBLOCK: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Turns that a direction has before others have theirs.
const TURNS: usize = 32;

enum State {
    Greeting,
    Password,
    Request,
    Connecting,
    Relaying,
}

/// Bytes on their way from one socket to the other.
#[derive(Default)]
struct Flow {
    held: Vec<u8>,
    pipe: Option<(OwnedFd, OwnedFd)>,
    in_pipe: usize,
    splicing: bool,
    ended: bool,
    told: bool,
}

struct Session {
    client: OwnedFd,
    target: Option<OwnedFd>,
    state: State,
    /// By where they come from.
    flows: [Flow; 2],
}

/// The session is over.
struct Over;

impl From<Errno> for Over {
    fn from(_: Errno) -> Self {
        Self
    }
}

struct Floor {
    mode: Mode,
    epoll: OwnedFd,
    buffer: Vec<u8>,
}

pub(crate) fn serve(mode: Mode, port: u16) -> Result<()> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    // Inherited by what it accepts.
    sockopt::set_tcp_nodelay(&listener, true)?;
    let mut floor = Floor {
        mode,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        buffer: vec![0; mode.buffer()],
    };
    epoll::add(
        &floor.epoll,
        &listener,
        epoll::EventData::new_u64(LISTENER),
        epoll::EventFlags::IN,
    )?;
    let mut sessions: Vec<Option<Session>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    // Directions that have had their turns and are not done.
    let mut again: Vec<(usize, usize)> = Vec::new();
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        let at_once = rustix::time::Timespec::default();
        let timeout = (!again.is_empty()).then_some(&at_once);
        retry_on_intr(|| epoll::wait(&floor.epoll, spare_capacity(&mut events), timeout))?;
        for event in &events {
            if event.data.u64() == LISTENER {
                while let Ok(client) = accept_with(&listener, NONBLOCK) {
                    let at = free.pop().unwrap_or(sessions.len());
                    floor.watch(&client, at, CLIENT)?;
                    if at == sessions.len() {
                        sessions.push(None);
                    }
                    sessions[at] = Some(Session::new(client));
                }
                continue;
            }
            let at = usize::try_from(event.data.u64() / 2)?;
            let side = usize::from(event.data.u64() % 2 == 1);
            let Some(session) = &mut sessions[at] else {
                continue;
            };
            let more = session.step(&mut floor, at, side, event.flags);
            settle(&mut sessions, &mut free, &mut again, at, more);
        }
        for (at, side) in std::mem::take(&mut again) {
            if let Some(session) = &mut sessions[at] {
                let more = session.pump(&mut floor, side, true);
                let more = more.map(|more| [side == CLIENT && more, side == TARGET && more]);
                settle(&mut sessions, &mut free, &mut again, at, more);
            }
        }
    }
}

/// Ends a session that is over, and notes who is to have more turns.
fn settle(
    sessions: &mut [Option<Session>],
    free: &mut Vec<usize>,
    again: &mut Vec<(usize, usize)>,
    at: usize,
    more: Result<[bool; 2], Over>,
) {
    match more {
        Ok(more) => {
            let sides = [CLIENT, TARGET].into_iter().filter(|&side| more[side]);
            for side in sides {
                if !again.contains(&(at, side)) {
                    again.push((at, side));
                }
            }
        }
        Err(Over) => {
            sessions[at] = None;
            again.retain(|it| it.0 != at);
            free.push(at);
        }
    }
}

impl Floor {
    fn watch(&self, socket: &OwnedFd, at: usize, side: usize) -> rustix::io::Result<()> {
        use epoll::EventFlags as E;
        let data = epoll::EventData::new_u64((at * 2 + side) as u64);
        epoll::add(&self.epoll, socket, data, E::IN | E::OUT | E::RDHUP | E::ET)
    }
}

impl Session {
    fn new(client: OwnedFd) -> Self {
        Self {
            client,
            target: None,
            state: State::Greeting,
            flows: Default::default(),
        }
    }

    /// Does what `flags` of `side` allow. Says which directions are not done.
    fn step(
        &mut self,
        floor: &mut Floor,
        at: usize,
        side: usize,
        flags: epoll::EventFlags,
    ) -> Result<[bool; 2], Over> {
        use epoll::EventFlags as E;
        let hung_up = flags.intersects(E::RDHUP | E::HUP | E::ERR);
        let mut more = [false; 2];
        match self.state {
            State::Relaying => {
                if flags.contains(E::IN) || hung_up {
                    more[side] = self.pump(floor, side, hung_up)?;
                }
                let other = 1 - side;
                if flags.contains(E::OUT) && self.flows[other].is_waiting() {
                    more[other] = self.pump(floor, other, true)?;
                }
            }
            State::Connecting if side == TARGET => {
                if hung_up {
                    return Err(Over);
                }
                if flags.contains(E::OUT) {
                    send(
                        &self.client,
                        b"\x05\0\0\x01\x7f\0\0\x01\0\0",
                        SendFlags::NOSIGNAL,
                    )?;
                    self.state = State::Relaying;
                    more = [true, flags.contains(E::IN)];
                }
            }
            State::Connecting => {}
            State::Greeting | State::Password | State::Request if flags.contains(E::IN) => {
                self.negotiate(floor, at)?;
            }
            State::Greeting | State::Password | State::Request => {}
        }
        Ok(more)
    }

    /// Each message is taken to come in one piece.
    fn negotiate(&mut self, floor: &mut Floor, at: usize) -> Result<(), Over> {
        let mut message = [0; 512];
        let (len, _) = match recv(&self.client, &mut message, RecvFlags::empty()) {
            Err(Errno::AGAIN) => return Ok(()),
            received => received?,
        };
        let message = &message[..len];
        match (&self.state, message) {
            (State::Greeting, [5, _, methods @ ..]) => {
                let method = if methods.contains(&0) { 0 } else { 2 };
                self.state = if method == 0 {
                    State::Request
                } else {
                    State::Password
                };
                send(&self.client, &[5, method], SendFlags::NOSIGNAL)?;
            }
            (State::Password, [1, len, rest @ ..]) => {
                let (user, password) = rest.split_at_checked((*len).into()).ok_or(Over)?;
                let right =
                    user == USER.0.as_bytes() && password.get(1..) == Some(USER.1.as_bytes());
                self.state = State::Request;
                send(&self.client, &[1, u8::from(!right)], SendFlags::NOSIGNAL)?;
                return if right { Ok(()) } else { Err(Over) };
            }
            (State::Request, &[5, 1, _, 1, a, b, c, d, high, low]) => {
                let target = socket_with(AddressFamily::INET, SocketType::STREAM, NONBLOCK, None)?;
                sockopt::set_tcp_nodelay(&target, true)?;
                let addr = SocketAddrV4::new([a, b, c, d].into(), u16::from_be_bytes([high, low]));
                match connect(&target, &addr) {
                    Ok(()) | Err(Errno::INPROGRESS) => {}
                    Err(_) => return Err(Over),
                }
                floor.watch(&target, at, TARGET)?;
                self.target = Some(target);
                self.state = State::Connecting;
            }
            _ => return Err(Over),
        }
        Ok(())
    }

    /// Moves bytes that come from `side`. True if there may be more.
    ///
    /// `to_the_end`: a short read is not taken for the last, since the end may
    /// stand behind it and makes no further edge.
    fn pump(&mut self, floor: &mut Floor, side: usize, to_the_end: bool) -> Result<bool, Over> {
        let Some(target) = &self.target else {
            return Ok(false);
        };
        let (source, sink) = match side {
            CLIENT => (&self.client, target),
            _ => (target, &self.client),
        };
        let more = self.flows[side].pump(floor, source, sink, to_the_end)?;
        if self.flows.iter().all(|flow| flow.told) {
            return Err(Over);
        }
        Ok(more)
    }
}

impl Flow {
    fn is_waiting(&self) -> bool {
        !self.held.is_empty() || self.in_pipe > 0
    }

    fn pump(
        &mut self,
        floor: &mut Floor,
        source: &OwnedFd,
        sink: &OwnedFd,
        to_the_end: bool,
    ) -> Result<bool, Over> {
        for _ in 0..TURNS {
            if self.is_waiting() && !self.drain(sink)? {
                return Ok(false);
            }
            if self.ended {
                if !self.told {
                    self.told = true;
                    shutdown(sink, Shutdown::Write)?;
                }
                return Ok(false);
            }
            let spliced = floor.mode == Mode::Splice || self.splicing;
            let filled = match spliced {
                true => self.splice(floor.mode, source),
                false => self.copy(floor, source, sink),
            };
            match filled {
                Ok(true) => {}
                Ok(false) if to_the_end || spliced || self.is_waiting() => {}
                Ok(false) => return Ok(false),
                Err(Errno::AGAIN) => return Ok(false),
                Err(_) => return Err(Over),
            }
        }
        Ok(true)
    }

    /// True once nothing waits any more.
    fn drain(&mut self, sink: &OwnedFd) -> Result<bool, Over> {
        while !self.held.is_empty() {
            match send(sink, &self.held, SendFlags::NOSIGNAL) {
                Ok(len) => drop(self.held.drain(..len)),
                Err(Errno::AGAIN) => return Ok(false),
                Err(_) => return Err(Over),
            }
        }
        while let Some((read, _)) = self.pipe.as_ref().filter(|_| self.in_pipe > 0) {
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            match splice(read, None, sink, None, self.in_pipe, flags) {
                Ok(len) => self.in_pipe -= len,
                Err(Errno::AGAIN) => return Ok(false),
                Err(_) => return Err(Over),
            }
        }
        Ok(true)
    }

    /// True if there may be more.
    fn splice(&mut self, mode: Mode, source: &OwnedFd) -> rustix::io::Result<bool> {
        let (_, write) = match &self.pipe {
            Some(pipe) => pipe,
            None => {
                let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
                // Not granted to those who have many: then it is smaller.
                let _ = fcntl_setpipe_size(&write, mode.pipe());
                self.pipe.insert((read, write))
            }
        };
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let len = splice(source, None, write, None, mode.pipe(), flags)?;
        self.in_pipe = len;
        self.ended = len == 0;
        self.splicing = len >= 4096;
        Ok(true)
    }

    /// False if that was all for now.
    fn copy(
        &mut self,
        floor: &mut Floor,
        source: &OwnedFd,
        sink: &OwnedFd,
    ) -> rustix::io::Result<bool> {
        let (len, _) = recv(source, &mut *floor.buffer, RecvFlags::empty())?;
        self.ended = len == 0;
        if self.ended {
            return Ok(true);
        }
        let sent = match send(sink, &floor.buffer[..len], SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => 0,
            sent => sent?,
        };
        if sent < len {
            self.held.extend(&floor.buffer[sent..len]);
        }
        let full = len == floor.buffer.len();
        self.splicing = full && floor.mode == Mode::Hybrid;
        Ok(full)
    }
}
