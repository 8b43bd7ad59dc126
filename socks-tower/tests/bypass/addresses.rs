//! Addresses that no client may reach, and how else they can be written.

/// One of each purpose, and its first and last where hosts often are.
pub(crate) const SPECIAL_V4: &[&str] = &[
    "0.0.0.0",
    "0.0.0.1",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.1.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
];

pub(crate) const SPECIAL_V6: &[&str] = &[
    "::",
    "::1",
    "100::1",
    "64:ff9b:1::808:808",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
];

/// The hexadecimal of an IPv4 address, as two groups; turned over, for Teredo.
fn groups(ip: &str, turned: bool) -> String {
    let bits = u32::from(ip.parse::<std::net::Ipv4Addr>().unwrap());
    let bits = if turned { !bits } else { bits };
    format!("{:x}:{:x}", bits >> 16, bits & 0xffff)
}

/// `ip` in each IPv6 form that leads to it.
pub(crate) fn embedded(ip: &str) -> Vec<String> {
    let (plain, turned) = (groups(ip, false), groups(ip, true));
    vec![
        format!("::ffff:{plain}"),
        format!("::ffff:0:{plain}"),
        format!("0:0:0:0:0:0:{plain}"),
        format!("64:ff9b::{plain}"),
        format!("64:ff9b:1::{plain}"),
        format!("2002:{plain}::1"),
        format!("2001:0:4136:e378:8000:1:{turned}"),
        format!("2001:0:{plain}:8000:1:f7f7:f7f7"),
        format!("2001:db8::5efe:{plain}"),
        format!("2001:db8::200:5efe:{plain}"),
        format!("fe80::5efe:{plain}"),
    ]
}
