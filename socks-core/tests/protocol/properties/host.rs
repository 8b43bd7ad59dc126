//! What holds for every host and target that can be read.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

use socks_core::{
    Decode, Decoded, DomainName, Encode, Host, Target,
    v4::{self, UserId},
    v5::{self, Command},
};

/// Reads `input` as a host, a name and a target.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        assert!(DomainName::from_bytes(input).is_err());
        return;
    };
    assert_eq!(DomainName::from_bytes(input), DomainName::new(text));
    if let Ok(ip) = text.parse::<IpAddr>() {
        assert_eq!(Host::parse(text), Ok(Host::Ip(ip)), "std reads {ip}");
    }
    match Host::parse(text) {
        Ok(Host::Ip(ip)) => {
            assert!(DomainName::new(text).is_err(), "{text:?} is also a name");
            check_target(&Target::new(ip, 443));
        }
        Ok(Host::Name(name)) => {
            assert_eq!(DomainName::new(text), Ok(name.clone()));
            assert_eq!(name.as_str(), text);
            check_name(&name);
            check_target(&Target::new(name, 443));
        }
        Err(error) => assert_eq!(DomainName::new(text), Err(error)),
    }
    if let Ok(target) = text.parse::<Target>() {
        check_target(&target);
    }
}

fn check_name(name: &DomainName) {
    let text = name.as_str();
    assert!((1..=DomainName::MAX_LEN).contains(&text.len()));
    assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace() || ":/@[]".contains(c)));

    let stem = text.strip_suffix('.').unwrap_or(text);
    assert!(stem.split('.').all(|label| !label.is_empty()));
    let mut same = vec![stem.to_ascii_uppercase(), stem.to_ascii_lowercase()];
    if stem.len() < DomainName::MAX_LEN {
        same.push(format!("{stem}."));
    }
    let hasher = RandomState::new();
    for spelling in same {
        let other = DomainName::new(&spelling).unwrap();
        assert_eq!(&other, name);
        assert_eq!(hasher.hash_one(&other), hasher.hash_one(name));
        assert!(name.is_within(&spelling));
    }
    for (dot, _) in stem.match_indices('.') {
        assert!(name.is_within(&stem[dot..]) && name.is_within(&stem[dot + 1..]));
    }
    assert!(!name.is_within(&format!("x{stem}")));
    assert!(!name.is_within(&format!("x.{stem}")));
}

/// A target can be printed and read, and sent in every protocol.
fn check_target(target: &Target) {
    assert_eq!(target.to_string().parse::<Target>().as_ref(), Ok(target));

    let request = v5::Request {
        command: Command::CONNECT,
        target: target.clone(),
    };
    assert_eq!(sent(&request), request);
    let reply = v5::Reply {
        code: v5::ReplyCode::SUCCEEDED,
        bound: target.clone(),
    };
    assert_eq!(sent(&reply), reply);
    let request = v4::Request {
        command: Command::CONNECT,
        target: target.clone(),
        user_id: UserId::default(),
    };
    assert_eq!(sent(&request), request);
}

fn sent<T: Decode + Encode>(message: &T) -> T {
    let bytes = message.to_bytes();
    match T::decode(&bytes) {
        Ok(Decoded::Complete { message, consumed }) if consumed == bytes.len() => message,
        _ => panic!("{} is not read as it was written", bytes.escape_ascii()),
    }
}
