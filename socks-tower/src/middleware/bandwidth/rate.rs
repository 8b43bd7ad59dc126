/// A rate in bytes per second, each way, and how much may pass at once.
///
/// ```
/// use socks_tower::middleware::ByteRate;
///
/// // 10 MB/s down, 1 MB/s up.
/// let rate = ByteRate::per_second(10_000_000).with_up(1_000_000);
/// // Down only.
/// let down = ByteRate::per_second(10_000_000).with_up(None);
/// # let _ = (rate, down);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate(pub(super) Numbers);

impl ByteRate {
    /// So many bytes per second up, and as many down. 0 lets nothing
    /// through but a burst that is set.
    #[must_use]
    pub const fn per_second(bytes: u64) -> Self {
        Self(Numbers::per_second(bytes))
    }

    /// Another rate from clients to targets; `None` for no limit.
    #[must_use]
    pub fn with_up(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.0.up = bytes.into();
        self
    }

    /// Another rate from targets to clients; `None` for no limit.
    #[must_use]
    pub fn with_down(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.0.down = bytes.into();
        self
    }

    /// Bytes that may pass at once after silence, each way; 0 lets nothing
    /// through. By default a tenth
    /// of a second's worth, or 1500 if that is more: less than that, and what a
    /// busy machine is late by would be lost.
    #[must_use]
    pub const fn with_burst(mut self, bytes: u64) -> Self {
        self.0.burst = Some(bytes);
        self
    }
}

/// A rate in datagrams per second, each way, and how many may pass at once. For
/// UDP associations; TCP has none.
///
/// ```
/// use socks_tower::middleware::{BandwidthLayer, ByteRate, DatagramRate};
///
/// // Many small ones cost as much as few large ones.
/// let limits = BandwidthLayer::per_client(ByteRate::per_second(10_000_000))
///     .and(BandwidthLayer::per_client(DatagramRate::per_second(5_000)));
/// # let _ = limits;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramRate(pub(super) Numbers);

impl DatagramRate {
    /// So many datagrams per second up, and as many down, and a
    /// [burst](Self::with_burst) behind a silence. 0 lets nothing through but a burst
    /// that is set. To never have more than `n` in a second, take a rate of
    /// `n + 1 - burst`.
    #[must_use]
    pub const fn per_second(datagrams: u64) -> Self {
        Self(Numbers::per_second(datagrams))
    }

    /// Another rate from clients to targets; `None` for no limit.
    #[must_use]
    pub fn with_up(mut self, datagrams: impl Into<Option<u64>>) -> Self {
        self.0.up = datagrams.into();
        self
    }

    /// Another rate from targets to clients; `None` for no limit.
    #[must_use]
    pub fn with_down(mut self, datagrams: impl Into<Option<u64>>) -> Self {
        self.0.down = datagrams.into();
        self
    }

    /// Datagrams that may pass at once after silence, each way; 0 lets nothing
    /// through. By default a tenth of a second's worth, or 10 if that is more:
    /// what opens a conversation comes in a few.
    #[must_use]
    pub const fn with_burst(mut self, datagrams: u64) -> Self {
        self.0.burst = Some(datagrams);
        self
    }
}

/// What a [`BandwidthLayer`](super::BandwidthLayer) limits to. Made of either rate by
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BandwidthRate {
    /// Bytes per second.
    Bytes(ByteRate),
    /// Datagrams per second.
    Datagrams(DatagramRate),
}

impl From<ByteRate> for BandwidthRate {
    fn from(rate: ByteRate) -> Self {
        Self::Bytes(rate)
    }
}

impl From<DatagramRate> for BandwidthRate {
    fn from(rate: DatagramRate) -> Self {
        Self::Datagrams(rate)
    }
}

/// So many per second of whatever it is, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) up: Option<u64>,
    pub(super) down: Option<u64>,
    pub(super) burst: Option<u64>,
}

impl Numbers {
    const fn per_second(count: u64) -> Self {
        Self {
            up: Some(count),
            down: Some(count),
            burst: None,
        }
    }

    /// The lower of both, each way.
    pub(super) fn narrowest(self, other: Self) -> Self {
        let lower = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            up: lower(self.up, other.up),
            down: lower(self.down, other.down),
            burst: lower(self.burst, other.burst),
        }
    }
}
