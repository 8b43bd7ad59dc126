//! The many spellings of an IP address.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address in any spelling that a resolver takes without asking anybody.
pub(super) fn ip_literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let (v6, _zone) = bare.split_once('%').unwrap_or((bare, ""));
    if let Ok(ip) = v6.parse::<Ipv6Addr>() {
        return Some(ip.into());
    }
    inet_aton(stem(host)).map(IpAddr::V4)
}

/// One to four numbers, decimal, octal (`0…`) or hexadecimal (`0x…`); the last
/// one fills all bytes that are left.
fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (&last, bytes) = numbers.split_last()?;
    let room = 4_u32.checked_sub(u32::try_from(bytes.len()).ok()?)?;
    if room == 0 || u64::from(last) >= 1 << (8 * room) {
        return None;
    }
    bytes
        .iter()
        .zip([24, 16, 8])
        .try_fold(last, |ip, (&byte, shift)| {
            (byte <= 0xff).then_some(ip | byte << shift)
        })
        .map(Ipv4Addr::from)
}

fn number(part: &str) -> Option<u32> {
    let (digits, radix) = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// As the URL standard says it: such a host is an IPv4 address or a mistake.
pub(super) fn ends_in_a_number(host: &str) -> bool {
    let host = stem(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => is_digits(last),
    }
}

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name without the dot that may end it.
pub(super) fn stem(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
