//! Codes of RFC 1928, as open newtypes: a value that has no name here passes
//! through unharmed.

use core::fmt;

/// Declares a newtype over a byte with named constants.
macro_rules! code {
    (
        $(#[$doc:meta])* $name:ident,
        $($(#[$constant_doc:meta])* $constant:ident = $value:literal => $text:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u8);

        impl $name {
            $($(#[$constant_doc])* pub const $constant: Self = Self($value);)*

            /// What the code means, in a few words; none for a value without a name.
            #[must_use]
            pub const fn description(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($value => f.write_str(concat!(stringify!($name), "::", stringify!($constant))),)*
                    other => write!(f, concat!(stringify!($name), "({:#04x})"), other),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.description() {
                    Some(text) => f.write_str(text),
                    None => write!(f, "{:#04x}", self.0),
                }
            }
        }
    };
}
pub(crate) use code;

code! {
    /// What the client asks for (CMD, RFC 1928 section 4). SOCKS4's CD has the
    /// same values.
    Command,
    /// A TCP connection to the target.
    CONNECT = 1 => "connect",
    /// A TCP connection from the target.
    BIND = 2 => "bind",
    /// A relay for datagrams.
    UDP_ASSOCIATE = 3 => "udp associate",
    /// Tor's extension: look a name up, answer with its address.
    RESOLVE = 0xf0 => "resolve",
    /// Tor's extension: look an address up, answer with its name.
    RESOLVE_PTR = 0xf1 => "resolve ptr",
}

code! {
    /// How the client shows who it is (METHOD, RFC 1928 section 3 and IANA's
    /// registry of SOCKS methods).
    Method,
    /// No authentication required.
    NONE = 0 => "none",
    /// GSS-API, RFC 1961.
    GSSAPI = 1 => "gssapi",
    /// Username and password, RFC 1929.
    USERNAME_PASSWORD = 2 => "username/password",
    /// Challenge-handshake authentication protocol.
    CHAP = 3 => "chap",
    /// Challenge-response authentication method.
    CHALLENGE_RESPONSE = 5 => "challenge-response",
    /// Secure sockets layer.
    SSL = 6 => "ssl",
    /// NDS authentication.
    NDS = 7 => "nds",
    /// Multi-authentication framework.
    MULTI_AUTHENTICATION = 8 => "multi-authentication framework",
    /// JSON parameter block.
    JSON_PARAMETER_BLOCK = 9 => "json parameter block",
    /// Not a method: the server's answer that it accepts none of those offered.
    NO_ACCEPTABLE = 0xff => "no acceptable method",
}

impl Method {
    /// The first of the values that RFC 1928 reserves for private methods.
    pub const PRIVATE_FIRST: Self = Self(0x80);
    /// The last of the values that RFC 1928 reserves for private methods.
    pub const PRIVATE_LAST: Self = Self(0xfe);
}

code! {
    /// How it went (REP, RFC 1928 section 6, and Tor's extensions).
    ReplyCode,
    /// Succeeded.
    SUCCEEDED = 0 => "succeeded",
    /// General SOCKS server failure.
    GENERAL_FAILURE = 1 => "general failure",
    /// Connection not allowed by ruleset.
    CONNECTION_NOT_ALLOWED = 2 => "connection not allowed by ruleset",
    /// Network unreachable.
    NETWORK_UNREACHABLE = 3 => "network unreachable",
    /// Host unreachable.
    HOST_UNREACHABLE = 4 => "host unreachable",
    /// Connection refused.
    CONNECTION_REFUSED = 5 => "connection refused",
    /// TTL expired; servers say so of a time-out.
    TTL_EXPIRED = 6 => "ttl expired",
    /// Command not supported.
    COMMAND_NOT_SUPPORTED = 7 => "command not supported",
    /// Address type not supported.
    ADDRESS_TYPE_NOT_SUPPORTED = 8 => "address type not supported",
    /// Tor: the onion service's descriptor cannot be found.
    ONION_DESCRIPTOR_NOT_FOUND = 0xf0 => "onion service descriptor not found",
    /// Tor: the onion service's descriptor is invalid.
    ONION_DESCRIPTOR_INVALID = 0xf1 => "onion service descriptor invalid",
    /// Tor: the introduction to the onion service failed.
    ONION_INTRODUCTION_FAILED = 0xf2 => "onion service introduction failed",
    /// Tor: the rendezvous with the onion service failed.
    ONION_RENDEZVOUS_FAILED = 0xf3 => "onion service rendezvous failed",
    /// Tor: the onion service wants client authorization.
    ONION_AUTH_MISSING = 0xf4 => "onion service authorization missing",
    /// Tor: the client authorization is wrong.
    ONION_AUTH_WRONG = 0xf5 => "onion service authorization wrong",
    /// Tor: the onion address is invalid.
    ONION_ADDRESS_INVALID = 0xf6 => "onion service address invalid",
    /// Tor: the introduction to the onion service timed out.
    ONION_INTRODUCTION_TIMED_OUT = 0xf7 => "onion service introduction timed out",
}
