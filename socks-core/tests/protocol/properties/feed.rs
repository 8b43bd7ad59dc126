//! The same bytes, arriving in different ways.

use socks_core::Decoded;

/// How bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// All at once.
    Whole,
    /// One by one.
    Single,
    /// As they are asked for.
    AsNeeded,
}

impl Arrival {
    /// Every way there is.
    pub(crate) const ALL: [Self; 3] = [Self::Whole, Self::Single, Self::AsNeeded];
}

/// A peer that has sent `bytes`, and no more.
#[derive(Clone, Debug)]
pub(crate) struct Feed<'a> {
    bytes: &'a [u8],
    arrival: Arrival,
    /// How many bytes have been taken by whoever receives.
    pub(crate) taken: usize,
    arrived: usize,
}

impl<'a> Feed<'a> {
    /// All of `bytes` are still to arrive.
    pub(crate) fn new(bytes: &'a [u8], arrival: Arrival) -> Self {
        Self {
            bytes,
            arrival,
            taken: 0,
            arrived: match arrival {
                Arrival::Whole => bytes.len(),
                Arrival::Single | Arrival::AsNeeded => 0,
            },
        }
    }

    /// Receives one message; none if the bytes end before it does.
    pub(crate) fn next<T, E>(
        &mut self,
        mut receive: impl FnMut(&[u8]) -> Result<Decoded<T>, E>,
    ) -> Option<Result<T, E>> {
        loop {
            let input = &self.bytes[self.taken..self.arrived];
            match receive(input) {
                Ok(Decoded::Complete { message, consumed }) => {
                    assert!(consumed <= input.len());
                    if self.arrival == Arrival::AsNeeded {
                        assert_eq!(consumed, input.len(), "asked for too much");
                    }
                    self.taken += consumed;
                    return Some(Ok(message));
                }
                Ok(Decoded::Incomplete { needed }) => {
                    assert!(needed > 0);
                    if self.arrived == self.bytes.len() {
                        return None;
                    }
                    let more = match self.arrival {
                        Arrival::Whole | Arrival::Single => 1,
                        Arrival::AsNeeded => needed,
                    };
                    self.arrived = self.bytes.len().min(self.arrived + more);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
