//! Amounts: bytes, and so many in a time.

use std::time::Duration;

use super::words::Fault;

/// `500k`, `10MB`, `1.5GiB`, `8Mbit`.
pub fn bytes(text: &str) -> Result<u64, Fault> {
    let fault =
        || -> Fault { "not a number of bytes, as 500kB, 10MB, 1.5GiB and 8Mbit are".into() };
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number.parse().map_err(|_| fault())?;
    let of = match unit {
        "" | "B" => 1.0,
        "k" | "kB" | "K" | "KB" => 1e3,
        "M" | "MB" => 1e6,
        "G" | "GB" => 1e9,
        "T" | "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kbit" | "Kbit" => 1e3 / 8.0,
        "Mbit" => 1e6 / 8.0,
        "Gbit" => 1e9 / 8.0,
        _ => return Err(fault()),
    };
    let bytes = number * of;
    if bytes < 1.0 {
        return Err(fault());
    }
    // What is too large for 64 bits is as good as the largest.
    Ok(bytes as u64)
}

/// `SOMETHING/second`, `/minute`, `/hour`, `/day`, `/week` or `/month` (of 30 days).
pub fn per(text: &str) -> Result<(&str, Duration), Fault> {
    const DAY: u64 = 24 * 60 * 60;

    let (amount, per) = text.split_once('/').unwrap_or((text, ""));
    let seconds = match per {
        "second" => 1,
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => DAY,
        "week" => 7 * DAY,
        "month" => 30 * DAY,
        _ => return Err("not so many in a time, as 100/minute and 10GB/day are".into()),
    };
    Ok((amount, Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_what_they_say() {
        for (text, expected) in [
            ("1500", Some(1500)),
            ("1MB", Some(1_000_000)),
            ("1.5GiB", Some(1_610_612_736)),
            ("8Mbit", Some(1_000_000)),
            ("500k", Some(500_000)),
            ("99999999999999999999999T", Some(u64::MAX)),
            ("0", None),
            ("0.5", None),
            ("-1", None),
            ("1.2.3MB", None),
            ("MB", None),
            ("1 MB", None),
            ("1PB", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
        assert_eq!(per("9/minute").unwrap(), ("9", Duration::from_secs(60)));
        assert!(per("9").is_err() && per("9/fortnight").is_err());
    }
}
