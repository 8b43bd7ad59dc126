//! A mechanism for tests, which protects nothing.

use std::{collections::HashSet, time::Duration};

use socks_core::v5::gssapi::Token;

use super::{Acceptor, Context, Facts, GssApiError, Initiator, Step, Unwrapped, Wanted};

/// Accepts those whose first token is `hello:` and a name, after so many rounds.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) rounds: usize,
    pub(crate) facts: Facts,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            rounds: 1,
            facts: Facts {
                initiator: String::new(),
                anonymous: false,
                mutual: true,
                replay: true,
                sequence: true,
                lifetime: None,
            },
        }
    }

    fn context(&self, began: bool) -> FakeContext {
        FakeContext {
            rounds: self.rounds,
            facts: self.facts.clone(),
            began,
            sent: 0,
            next: 0,
            seen: HashSet::new(),
        }
    }

    /// The client's side of it.
    pub(crate) fn client(&self) -> FakeContext {
        self.context(true)
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Facts)) -> Self {
        change(&mut self.facts);
        self
    }

    pub(crate) fn with_lifetime(self, lifetime: Duration) -> Self {
        self.with(|facts| facts.lifetime = Some(lifetime))
    }
}

impl Acceptor for Fake {
    fn context(&self) -> Box<dyn Context> {
        Box::new(self.context(false))
    }

    fn unique<'t>(&self, token: &'t [u8]) -> Option<&'t [u8]> {
        token.strip_prefix(b"hello:")
    }
}

/// Begins by saying hello.
#[derive(Clone, Debug)]
pub(crate) struct FakeClient(pub(crate) Fake);

impl Initiator for FakeClient {
    fn context(&self, wanted: Wanted) -> Result<Box<dyn Context>, GssApiError> {
        let mut context = self.0.client();
        context.facts.sequence = wanted.sequence;
        assert!(!wanted.delegation, "nobody asked for it");
        Ok(Box::new(context))
    }
}

/// Its messages are `E` or `C` for encrypted or in clear, the side that sent it, a number,
/// the data, and a sum.
pub(crate) struct FakeContext {
    rounds: usize,
    facts: Facts,
    /// It is the client's.
    began: bool,
    sent: u8,
    next: u8,
    seen: HashSet<u8>,
}

const HEAD: usize = 3;
const AROUND: usize = HEAD + 1;

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(7, |sum, &byte| sum.rotate_left(1) ^ byte)
}

impl Context for FakeContext {
    fn step(&mut self, token: &[u8]) -> Result<Step, GssApiError> {
        if self.began {
            let is_complete = token == b"welcome" || !self.facts.mutual;
            let token = match (token, is_complete) {
                (b"", _) => b"hello:joe".to_vec(),
                (_, true) => Vec::new(),
                _ => b"more".to_vec(),
            };
            return Ok(Step { token, is_complete });
        }
        if let Some(name) = token.strip_prefix(b"hello:") {
            self.facts.initiator = String::from_utf8_lossy(name).into();
        } else if token != b"more" {
            return Err("what is that?".into());
        }
        self.rounds -= 1;
        let is_complete = self.rounds == 0;
        let token: &[u8] = match (is_complete, self.facts.mutual) {
            (true, true) => b"welcome",
            (true, false) => b"",
            (false, _) => b"go on",
        };
        Ok(Step {
            token: token.to_vec(),
            is_complete,
        })
    }

    fn facts(&self) -> Result<Facts, GssApiError> {
        Ok(self.facts.clone())
    }

    fn most(&mut self, _: bool) -> Result<usize, GssApiError> {
        Ok(Token::MAX_LEN - AROUND)
    }

    fn wrap(&mut self, encrypt: bool, plain: &[u8], out: &mut Vec<u8>) -> Result<(), GssApiError> {
        let start = out.len();
        let kind = if encrypt { b'E' } else { b'C' };
        out.extend([kind, u8::from(self.began), self.sent]);
        let mask = if encrypt { 0xff } else { 0 };
        out.extend(plain.iter().map(|byte| byte ^ mask));
        out.push(sum(&out[start..]));
        self.sent = self.sent.wrapping_add(1);
        Ok(())
    }

    fn unwrap(&mut self, token: &mut [u8]) -> Result<Unwrapped, GssApiError> {
        let end = token.len().checked_sub(1).ok_or("cut short")?;
        let (&mut [kind, by, number], _) = token.split_first_chunk_mut().ok_or("cut short")?;
        if end < HEAD || sum(&token[..end]) != token[end] || by == u8::from(self.began) {
            return Err("it was changed".into());
        }
        let known = !self.seen.insert(number) && self.facts.replay;
        if known || self.facts.sequence && number != self.next {
            return Err("not in its order".into());
        }
        self.next = number.wrapping_add(1);
        // Numbers come again, as they are short.
        if self.seen.len() > 128 {
            self.seen.clear();
        }
        let encrypted = kind == b'E';
        if encrypted {
            token[HEAD..end].iter_mut().for_each(|byte| *byte ^= 0xff);
        }
        Ok(Unwrapped {
            range: HEAD..end,
            encrypted,
        })
    }
}
