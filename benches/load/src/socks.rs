//! SOCKS5 by hand, as a client speaks it.

use std::{
    io::{Read, Write},
    net::{SocketAddrV4, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::proxy::{Proxy, USER};

/// How a client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    None,
    Password,
}

/// What the client says, and what it must hear before it says the next.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) say: Vec<u8>,
    pub(crate) hear: Hear,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hear {
    /// Just these bytes.
    Exactly(Vec<u8>),
    /// A reply that grants, with any address.
    Granted,
}

const CONNECT: u8 = 1;
pub(crate) const ASSOCIATE: u8 = 3;

pub(crate) fn connect(auth: Auth, target: SocketAddrV4) -> Vec<Step> {
    steps(auth, CONNECT, target)
}

pub(crate) fn steps(auth: Auth, command: u8, target: SocketAddrV4) -> Vec<Step> {
    let exactly = |say: Vec<u8>, hear: &[u8]| Step {
        say,
        hear: Hear::Exactly(hear.to_vec()),
    };
    let mut steps = match auth {
        Auth::None => vec![exactly(vec![5, 1, 0], &[5, 0])],
        Auth::Password => {
            let (user, password) = USER;
            let mut attempt = vec![1, 5];
            attempt.extend(user.as_bytes());
            attempt.push(5);
            attempt.extend(password.as_bytes());
            vec![exactly(vec![5, 1, 2], &[5, 2]), exactly(attempt, &[1, 0])]
        }
    };
    let mut say = vec![5, command, 0, 1];
    say.extend(target.ip().octets());
    say.extend(target.port().to_be_bytes());
    let hear = Hear::Granted;
    steps.push(Step { say, hear });
    steps
}

impl Hear {
    /// Whether `heard` is all of it.
    pub(crate) fn is_complete(&self, heard: &[u8]) -> Result<bool> {
        match self {
            Self::Exactly(expected) => {
                ensure!(expected.starts_with(heard), "heard {heard:02x?}");
                Ok(expected.len() == heard.len())
            }
            Self::Granted => {
                if let Some(&code) = heard.get(1) {
                    ensure!(code == 0, "refused with reply {code}");
                }
                let len = match heard.get(3) {
                    None => return Ok(false),
                    Some(1) => 10,
                    Some(4) => 22,
                    Some(other) => bail!("address type {other}"),
                };
                ensure!(heard.len() <= len, "more than a reply");
                Ok(heard.len() == len)
            }
        }
    }

    /// How many bytes more may be read without reading too far.
    fn wants(&self, heard: &[u8]) -> usize {
        let len = match self {
            Self::Exactly(expected) => expected.len(),
            Self::Granted => match heard.get(3) {
                None => 4,
                Some(4) => 22,
                Some(_) => 10,
            },
        };
        len.saturating_sub(heard.len()).max(1)
    }
}

/// A tunnel to `target`, on a socket that blocks, for ten seconds at most.
pub(crate) fn tunnel(proxy: &Proxy, auth: Auth, target: SocketAddrV4) -> Result<TcpStream> {
    let stream = open(proxy)?;
    talk(&stream, &connect(auth, target)).context("handshake")?;
    Ok(stream)
}

pub(crate) fn open(proxy: &Proxy) -> Result<TcpStream> {
    let stream = TcpStream::connect(proxy.addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// Goes through `steps`; gives back the last answer.
pub(crate) fn talk(mut stream: &TcpStream, steps: &[Step]) -> Result<Vec<u8>> {
    let mut heard = Vec::new();
    for step in steps {
        stream.write_all(&step.say)?;
        heard.clear();
        while !step.hear.is_complete(&heard)? {
            let mut part = [0; 22];
            let part = &mut part[..step.hear.wants(&heard)];
            let len = stream.read(part)?;
            ensure!(len > 0, "hung up after {heard:02x?}");
            heard.extend(&part[..len]);
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_complete_when_its_address_is() {
        let v4 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x07";
        for len in 0..v4.len() {
            assert!(!Hear::Granted.is_complete(&v4[..len]).unwrap());
        }
        assert!(Hear::Granted.is_complete(v4).unwrap());
        let mut v6 = [0; 22];
        v6[..4].copy_from_slice(b"\x05\x00\x00\x04");
        assert!(!Hear::Granted.is_complete(&v6[..10]).unwrap());
        assert!(Hear::Granted.is_complete(&v6).unwrap());
    }

    #[test]
    fn a_refusal_and_what_nobody_expects_are_errors() {
        assert!(Hear::Granted.is_complete(b"\x05\x07").is_err());
        assert!(Hear::Granted.is_complete(b"\x05\x00\x00\x03").is_err());
        let hear = Hear::Exactly(vec![5, 0]);
        assert!(!hear.is_complete(&[5]).unwrap());
        assert!(hear.is_complete(&[5, 2]).is_err());
        assert!(hear.is_complete(&[5, 0, 0]).is_err());
    }

    #[test]
    fn nothing_is_read_past_an_answer() {
        assert_eq!(Hear::Granted.wants(&[]), 4);
        assert_eq!(Hear::Granted.wants(&[5, 0, 0, 1]), 6);
        assert_eq!(Hear::Granted.wants(&[5, 0, 0, 4]), 18);
        assert_eq!(Hear::Exactly(vec![5, 0]).wants(&[5]), 1);
    }
}
