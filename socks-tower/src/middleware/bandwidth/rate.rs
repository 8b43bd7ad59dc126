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
pub struct ByteRate {
    pub(super) up: Option<u64>,
    pub(super) down: Option<u64>,
    pub(super) burst: Option<u64>,
}

impl ByteRate {
    /// So many bytes per second up, and as many down. 0 lets nothing
    /// through but a burst that is set.
    #[must_use]
    pub const fn per_second(bytes: u64) -> Self {
        Self {
            up: Some(bytes),
            down: Some(bytes),
            burst: None,
        }
    }

    /// Another rate from clients to targets; `None` for no limit.
    #[must_use]
    pub fn with_up(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.up = bytes.into();
        self
    }

    /// Another rate from targets to clients; `None` for no limit.
    #[must_use]
    pub fn with_down(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.down = bytes.into();
        self
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

    /// Bytes that may pass at once after silence, each way; 0 lets nothing
    /// through. By default a tenth
    /// of a second's worth, or 1500 if that is more: less than that, and what a
    /// busy machine is late by would be lost.
    #[must_use]
    pub const fn with_burst(mut self, bytes: u64) -> Self {
        self.burst = Some(bytes);
        self
    }
}
