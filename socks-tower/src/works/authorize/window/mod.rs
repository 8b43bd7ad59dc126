//! Days of the week and times of day.

mod parse;
mod zone;

use std::{
    cell::OnceCell,
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use zone::Zone;

use crate::session::BoxError;

/// Days of the week and a time of day, in some time zone.
///
/// It is read from text: days, times, and a zone, of which one of the first two
/// may be left out. The zone is UTC if it is left out.
///
/// | part | |
/// |---|---|
/// | `mon-fri`, `sat,sun`, `mon,wed-fri`, `sun-tue` | days; every day if left out |
/// | `08:00-17:30` | times, in hours and minutes, the last one no more part of it; all day if left out |
/// | `22:00-06:00` | past midnight, into the day after the one that is named |
/// | `UTC`, `+02:00`, `-09:30` | a fixed offset, east of UTC |
/// | `local`, `Europe/Berlin`, `CET-1CEST,M3.5.0,M10.5.0/3` | this machine's zone, one of the system's database, one by POSIX's rules; with the feature `time-zones` |
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use socks_tower::Window;
///
/// let night: Window = "fri-sat 22:00-06:00 +01:00".parse()?;
/// // 2026-11-22, a Sunday, at 04:59 and at 05:00 UTC.
/// let sunday = UNIX_EPOCH + Duration::from_secs(1_795_305_600);
/// assert!(night.contains(sunday + Duration::from_secs(4 * 3600 + 59 * 60)));
/// assert!(!night.contains(sunday + Duration::from_secs(5 * 3600)));
/// # Ok::<(), socks_tower::WindowError>(())
/// ```
///
/// A window goes by what a clock on the wall shows. When clocks are put forward,
/// what they skip does not happen that day; when they are put back, an hour
/// happens twice. A zone's rules are read with the window, not again; so is
/// which zone this machine is in.
#[derive(Clone, Debug)]
pub struct Window {
    /// Bit 0 is Monday. A window that passes midnight is of the day on which it
    /// begins.
    days: u8,
    /// In minutes since midnight.
    from: u16,
    until: u16,
    zone: Zone,
}

/// Text that is no [`Window`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// Not a day, a range or a list of days, where the window names no times
    /// either.
    #[error("{0:?} names no days, as mon-fri or sat,sun do, nor times")]
    Days(String),
    /// Not two times of day that differ.
    #[error("{0:?} is no time from one to another, as 08:00-17:30 is")]
    Times(String),
    /// Not a time zone, or one that needs the feature `time-zones`.
    #[error("{0:?} is no known time zone")]
    Zone(String, #[source] BoxError),
}

impl Window {
    /// Whether `at` is in it.
    #[must_use]
    pub fn contains(&self, at: SystemTime) -> bool {
        let unix = unix(at);
        let local = unix.saturating_add(self.zone.offset(unix));
        let day = local.div_euclid(86_400);
        let minute = local.rem_euclid(86_400) / 60;
        let (from, until) = (i64::from(self.from), i64::from(self.until));
        if from < until {
            return self.is_on(day) && (from..until).contains(&minute);
        }
        self.is_on(day) && from <= minute || self.is_on(day.saturating_sub(1)) && minute < until
    }

    /// `day` counts from 1970-01-01, which was a Thursday.
    fn is_on(&self, day: i64) -> bool {
        let weekday = day.saturating_add(3).rem_euclid(7);
        self.days >> weekday & 1 == 1
    }
}

/// Seconds since 1970, rounded down.
fn unix(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(error) => {
            let before = error.duration();
            let seconds = before
                .as_secs()
                .saturating_add((before.subsec_nanos() > 0).into());
            i64::try_from(seconds).map_or(i64::MIN, i64::wrapping_neg)
        }
    }
}

/// What time it is for windows.
#[derive(Clone, Default)]
pub(crate) struct Clock {
    /// The system's if there is none.
    other: Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>,
}

impl Clock {
    pub(crate) fn of(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self {
            other: Some(Arc::new(now)),
        }
    }

    fn read(&self) -> SystemTime {
        self.other
            .as_ref()
            .map_or_else(SystemTime::now, |now| now())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// When a request is judged: one time for all its addresses, and read only if
/// a rule wants to know.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    clock: &'a Clock,
    time: OnceCell<SystemTime>,
}

impl<'a> Moment<'a> {
    pub(crate) fn new(clock: &'a Clock) -> Self {
        Self {
            clock,
            time: OnceCell::new(),
        }
    }

    pub(crate) fn time(&self) -> SystemTime {
        *self.time.get_or_init(|| self.clock.read())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Seconds after 1970 of 2026-11-23, a Monday.
    const MONDAY: u64 = 1_795_392_000;

    /// `day` counts from that Monday, `time` is UTC.
    fn at(day: u64, time: &str) -> SystemTime {
        let (hours, minutes) = time.split_once(':').unwrap();
        let (hours, minutes): (u64, u64) = (hours.parse().unwrap(), minutes.parse().unwrap());
        UNIX_EPOCH + Duration::from_secs(MONDAY + day * 86_400 + hours * 3600 + minutes * 60)
    }

    fn contains(window: &str, day: u64, time: &str) -> bool {
        window.parse::<Window>().unwrap().contains(at(day, time))
    }

    #[test]
    fn a_window_begins_with_its_first_minute_and_ends_before_its_last() {
        for (day, time, is_in) in [
            (0, "07:59", false),
            (0, "08:00", true),
            (0, "17:29", true),
            (0, "17:30", false),
            (4, "08:00", true),
            (5, "08:00", false),
            (6, "08:00", false),
            (7, "08:00", true),
        ] {
            let window = "mon-fri 08:00-17:30";
            assert_eq!(contains(window, day, time), is_in, "{day} {time}");
        }
        let just_before = at(0, "17:30") - Duration::from_nanos(1);
        let window: Window = "mon-fri 08:00-17:30".parse().unwrap();
        assert!(window.contains(just_before));
    }

    #[test]
    fn days_wrap_around_the_week_and_count_alone() {
        for (window, days) in [
            ("mon", [1, 0, 0, 0, 0, 0, 0]),
            ("sat,sun", [0, 0, 0, 0, 0, 1, 1]),
            ("Sat-MON", [1, 0, 0, 0, 0, 1, 1]),
            ("mon,wed-thu,sun", [1, 0, 1, 1, 0, 0, 1]),
            ("wed-tue", [1; 7]),
            ("00:00-24:00", [1; 7]),
        ] {
            for (day, is_in) in (0..).zip(days) {
                for time in ["00:00", "23:59"] {
                    assert_eq!(contains(window, day, time), is_in == 1, "{window} {day}");
                }
            }
        }
    }

    #[test]
    fn a_window_past_midnight_is_of_the_day_on_which_it_begins() {
        let window = "fri,sun 22:00-06:00";
        for (day, time, is_in) in [
            (3, "22:00", false),
            (4, "05:59", false),
            (4, "21:59", false),
            (4, "22:00", true),
            (5, "00:00", true),
            (5, "05:59", true),
            (5, "06:00", false),
            (5, "22:00", false),
            (6, "05:59", false),
            (6, "23:59", true),
            // The week wraps.
            (7, "05:59", true),
            (7, "06:00", false),
            (0, "05:59", true),
        ] {
            assert_eq!(contains(window, day, time), is_in, "{day} {time}");
        }
        assert!(contains("mon 22:00-00:00", 0, "23:59"));
        assert!(!contains("mon 22:00-00:00", 1, "00:00"));
    }

    #[test]
    fn offsets_move_the_day_as_well_as_the_time() {
        for (window, day, time, is_in) in [
            ("mon 00:00-01:00 +02:00", 6, "22:00", true),
            ("mon 00:00-01:00 +02:00", 0, "22:00", false),
            ("mon 00:00-01:00 +02:00", 0, "00:00", false),
            ("sun 23:00-24:00 -09:30", 0, "08:30", true),
            ("sun 23:00-24:00 -09:30", 0, "09:30", false),
            ("mon utc", 0, "00:00", true),
        ] {
            assert_eq!(contains(window, day, time), is_in, "{window} {day} {time}");
        }
    }

    #[test]
    fn times_before_1970_and_far_from_now_are_in_weeks_too() {
        let window: Window = "wed 23:59-24:00".parse().unwrap();
        assert!(window.contains(UNIX_EPOCH - Duration::from_nanos(1)));
        assert!(window.contains(UNIX_EPOCH - Duration::from_secs(60)));
        assert!(!window.contains(UNIX_EPOCH - Duration::from_nanos(60_000_000_001)));
        assert!(!window.contains(UNIX_EPOCH));
        let always: Window = "mon-sun".parse().unwrap();
        let far = Duration::from_secs(1 << 60);
        for far in [UNIX_EPOCH.checked_add(far), UNIX_EPOCH.checked_sub(far)] {
            assert!(far.is_none_or(|far| always.contains(far)));
        }
    }

    #[cfg(feature = "time-zones")]
    #[test]
    fn a_named_zone_knows_when_clocks_are_changed() {
        let utc = |month_day: u64, time: &str| {
            // Days from that Monday back to 2026-03-29 and 2026-10-25, Sundays.
            at(0, time) - Duration::from_secs(month_day * 86_400)
        };
        let (spring, autumn) = (239, 29);
        for zone in ["Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"] {
            let window = |text: &str| format!("{text} {zone}").parse::<Window>().unwrap();
            let work = window("sun 09:00-10:00");
            // Winter is UTC+1, summer UTC+2.
            for (day, time, is_in) in [
                (spring + 7, "07:59", false),
                (spring + 7, "08:00", true),
                (spring, "07:00", true),
                (spring, "08:00", false),
                (autumn + 7, "07:00", true),
                (autumn, "07:00", false),
                (autumn, "08:00", true),
            ] {
                assert_eq!(work.contains(utc(day, time)), is_in, "{zone} {day} {time}");
            }
            // From 02:00 to 03:00 clocks show nothing in spring, and all twice
            // in autumn.
            let night = window("sun 02:00-03:00");
            for minute in 0..59 {
                for hour in ["00", "01", "02"] {
                    let time = format!("{hour}:{minute}");
                    assert!(!night.contains(utc(spring, &time)), "{zone} {time}");
                    let in_autumn = night.contains(utc(autumn, &time));
                    assert_eq!(in_autumn, hour != "02", "{zone} {time}");
                }
            }
            // One that passes midnight ends by the new time.
            let late = window("sat 22:00-06:00");
            assert!(late.contains(utc(spring, "03:59")));
            assert!(!late.contains(utc(spring, "04:00")));
            assert!(late.contains(utc(autumn, "04:59")));
            assert!(!late.contains(utc(autumn, "05:00")));
        }
    }
}
