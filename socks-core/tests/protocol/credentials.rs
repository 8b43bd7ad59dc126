//! What is kept of usernames and passwords, and what is told.

use socks_core::{Credentials, Password, Username};
use zeroize::Zeroize;

fn password(bytes: impl AsRef<[u8]>) -> Password {
    Password::new(bytes).unwrap()
}

#[test]
fn a_password_is_not_printed() {
    let credentials = Credentials::new("joe", "secret").unwrap();
    assert_eq!(format!("{:?}", credentials.password), "Password(..)");
    let printed = format!("{credentials:#?}");
    assert!(!printed.contains("secret") && printed.contains("joe"));
}

#[test]
fn a_username_prints_without_breaking_the_line() {
    let username = Username::new(b"joe\r\n\x1b[2J\xff").unwrap();
    assert_eq!(format!("{username:?}"), r#""joe\r\n\x1b[2J\xff""#);
    assert_eq!(username.to_str(), None);
    assert_eq!(Username::new("zoë").unwrap().to_str(), Some("zoë"));
}

#[test]
fn passwords_are_equal_when_all_of_their_bytes_are() {
    assert_eq!(password("secret"), password("secret"));
    assert_eq!(password(""), password(""));
    assert_eq!(password([7; 255]), password([7; 255]));
    for (one, other) in [
        (&b"secret"[..], &b"Secret"[..]),
        (b"secret", b"secre"),
        (b"secret", b"secrets"),
        (b"secret", b""),
        (b"secret", b"tecret"),
        // NUL pads, and still is a byte like any other.
        (b"secret", b"secret\0"),
        (b"se\0ret", b"se\0cet"),
        (b"se\0ret", b"se"),
        (b"", b"\0"),
        (&[7; 255], &[7; 254]),
    ] {
        assert_ne!(password(one), password(other), "{}", one.escape_ascii());
        assert_ne!(password(other), password(one), "{}", one.escape_ascii());
    }
}

#[test]
fn the_bytes_are_those_given() {
    for bytes in [&b""[..], b"\0", b"secret", b"\0secret\0", &[0xff; 255]] {
        assert_eq!(password(bytes).as_bytes(), bytes);
        assert_eq!(password(bytes).clone().as_bytes(), bytes);
        assert_eq!(Username::new(bytes).unwrap().as_bytes(), bytes);
    }
}

#[test]
fn what_the_length_byte_cannot_count_is_not_taken() {
    assert!(Password::new([7; 256]).is_err());
    assert!(Username::new([7; 256]).is_err());
    assert!(Credentials::new([7; 256], "").is_err());
    assert!(Credentials::new("", [7; 256]).is_err());
}

#[test]
fn a_zeroed_password_is_empty() {
    let mut zeroed = password("secret");
    zeroed.zeroize();
    assert_eq!(zeroed.as_bytes(), b"");
    assert_eq!(zeroed, password(""));
}

#[test]
fn a_password_is_zeroed_when_dropped() {
    // That it happens is the wrapper's promise; that the type keeps it is here.
    fn zeroes_on_drop<T: zeroize::ZeroizeOnDrop>() {}
    zeroes_on_drop::<Password>();
    assert!(std::mem::needs_drop::<Password>());
}
