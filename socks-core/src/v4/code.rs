//! SOCKS4's reply codes.

use core::fmt;

use crate::v5::code::code;

code! {
    /// How it went (CD of a reply).
    ReplyCode,
    /// Request granted.
    GRANTED = 90 => "granted",
    /// Request rejected or failed.
    REJECTED = 91 => "rejected or failed",
    /// Rejected: the server cannot reach the client's identd.
    IDENTD_UNREACHABLE = 92 => "identd unreachable",
    /// Rejected: client and identd report different user ids.
    USER_ID_MISMATCH = 93 => "user id mismatch",
}
