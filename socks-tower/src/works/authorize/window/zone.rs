use super::WindowError;
use crate::session::BoxError;

/// What time it is where a window is judged.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    /// Seconds east of UTC.
    Offset(i64),
    #[cfg(feature = "time-zones")]
    Named(jiff::tz::TimeZone),
}

const MINUTE: i64 = 60;
/// In minutes.
pub(super) const MIDNIGHT: u16 = 24 * 60;

fn unknown(zone: &str, cause: impl Into<BoxError>) -> WindowError {
    WindowError::Zone(zone.into(), cause.into())
}

impl Zone {
    pub(super) const UTC: Self = Self::Offset(0);

    /// `UTC`, `+02:00`, and with the feature `local` and `Europe/Berlin`.
    pub(super) fn parse(text: &str) -> Result<Self, WindowError> {
        if text.eq_ignore_ascii_case("UTC") {
            return Ok(Self::UTC);
        }
        let (east, offset) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(offset), _) => (1, offset),
            (_, Some(offset)) => (-1, offset),
            (None, None) => return Self::named(text),
        };
        match minutes(offset) {
            Some(minutes) => Ok(Self::Offset(east * i64::from(minutes) * MINUTE)),
            None => Err(unknown(text, "offsets are -24:00 to +24:00")),
        }
    }

    #[cfg(feature = "time-zones")]
    fn named(text: &str) -> Result<Self, WindowError> {
        use jiff::tz::TimeZone;

        let zone = match text {
            "local" => TimeZone::try_system(),
            // POSIX's way needs no database, which small images do without.
            _ => TimeZone::get(text).or_else(|error| TimeZone::posix(text).or(Err(error))),
        };
        zone.map(Self::Named).map_err(|error| unknown(text, error))
    }

    #[cfg(not(feature = "time-zones"))]
    fn named(text: &str) -> Result<Self, WindowError> {
        Err(unknown(text, "it needs the feature `time-zones`"))
    }

    /// Seconds to add to UTC, `unix` seconds after 1970.
    #[cfg_attr(
        not(feature = "time-zones"),
        expect(unused_variables, reason = "a fixed offset is always the same")
    )]
    pub(super) fn offset(&self, unix: i64) -> i64 {
        match self {
            Self::Offset(seconds) => *seconds,
            #[cfg(feature = "time-zones")]
            Self::Named(zone) => {
                // Before and after the years that it knows, 9999 in all, UTC.
                let at = jiff::Timestamp::from_second(unix);
                at.map_or(0, |at| zone.to_offset(at).seconds().into())
            }
        }
    }
}

/// Minutes of `00:00` to `24:00`.
pub(super) fn minutes(time: &str) -> Option<u16> {
    let (hours, minutes) = time.split_once(':')?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let time = hours * 60 + minutes;
    (minutes < 60 && time <= MIDNIGHT).then_some(time)
}

fn two_digits(text: &str) -> Option<u16> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}
