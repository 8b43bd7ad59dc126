use std::{iter::Peekable, str::FromStr};

use super::{
    Window, WindowError,
    zone::{MIDNIGHT, Zone, minutes},
};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EVERY_DAY: u8 = 0b111_1111;

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let mut parts = text.split_whitespace().peekable();
        let days = match next_times(&mut parts) {
            Some(times) => Err(times),
            None => {
                let part = parts.next().unwrap_or_default();
                Ok(days(part).ok_or_else(|| WindowError::Days(part.into()))?)
            }
        };
        let (days, times_part) = match days {
            Ok(days) => (days, next_times(&mut parts)),
            Err(times) => (EVERY_DAY, Some(times)),
        };
        let (from, until) = match times_part {
            Some(part) => times(part).ok_or_else(|| WindowError::Times(part.into()))?,
            None => (0, MIDNIGHT),
        };
        let zone: Vec<_> = parts.collect();
        let zone = match zone.as_slice() {
            [] => Zone::UTC,
            parts => Zone::parse(&parts.join(" "))?,
        };
        Ok(Self {
            days,
            from,
            until,
            zone,
        })
    }
}

fn next_times<'a>(parts: &mut Peekable<impl Iterator<Item = &'a str>>) -> Option<&'a str> {
    parts.next_if(|part| part.starts_with(|first: char| first.is_ascii_digit()))
}

fn days(part: &str) -> Option<u8> {
    part.split(',').try_fold(0, |days, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (day(first)?, day(last)?);
        let last = if last < first { last + 7 } else { last };
        Some((first..=last).fold(days, |days, day| days | 1 << (day % 7)))
    })
}

fn day(name: &str) -> Option<usize> {
    DAYS.iter().position(|day| day.eq_ignore_ascii_case(name))
}

fn times(part: &str) -> Option<(u16, u16)> {
    let (from, until) = part.split_once('-')?;
    let (from, until) = (minutes(from)?, minutes(until)?);
    // From and to the same time: nothing, or a day? Neither is said.
    (from < MIDNIGHT && from != until).then_some((from, until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Window, WindowError> {
        text.parse()
    }

    #[test]
    fn each_part_may_stand_alone_but_the_zone() {
        for text in [
            "mon-fri",
            "08:00-17:30",
            " sat,sun  08:00-17:30 ",
            "sun 00:00-24:00 utc",
            "08:00-17:30 +00:00",
            "mon -12:00",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_window_is_told_by_the_part_that_is_wrong() {
        let days = |part| format!("{part:?} names no days, as mon-fri or sat,sun do, nor times");
        let times = |part| format!("{part:?} is no time from one to another, as 08:00-17:30 is");
        let zone = |part| format!("{part:?} is no known time zone");
        for (text, error) in [
            ("", days("")),
            ("UTC", days("UTC")),
            ("mom-fri 08:00-17:00", days("mom-fri")),
            ("mon,", days("mon,")),
            ("mon-tue-wed", days("mon-tue-wed")),
            ("8:00-17:00", times("8:00-17:00")),
            ("mon 08:00", times("08:00")),
            ("mon 08:00-17:60", times("08:00-17:60")),
            ("mon 08:00-24:01", times("08:00-24:01")),
            ("mon 24:00-08:00", times("24:00-08:00")),
            ("mon 08:00-08:00", times("08:00-08:00")),
            ("mon 08:00-+9:00", times("08:00-+9:00")),
            ("mon 08:00-17:00 +2", zone("+2")),
            ("mon 08:00-17:00 +25:00", zone("+25:00")),
            ("mon 08:00-17:00 Mars/Olympus", zone("Mars/Olympus")),
            ("mon 08:00-17:00 UTC 09:00-10:00", zone("UTC 09:00-10:00")),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[cfg(not(feature = "time-zones"))]
    #[test]
    fn a_named_zone_needs_the_feature() {
        for zone in ["local", "Europe/Berlin"] {
            let error = parse(&format!("mon {zone}")).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(cause, "it needs the feature `time-zones`");
        }
    }
}
