//! Username and password (RFC 1929).

use alloc::vec::Vec;

use crate::{
    Credentials, DecodeError, Password, Username,
    codec::{Decode, Decoded, Encode, Reader},
};

/// The sub-negotiation's own version byte: 1, not 5.
const VERSION: u8 = 1;

/// The client's username and password. Either may be empty: the verifier
/// decides what to make of it.
///
/// Encoded, it is the password in the clear: whoever owns the buffer wipes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordRequest {
    /// Who the client says it is, and its proof.
    pub credentials: Credentials,
}

impl Decode for PasswordRequest {
    type Error = DecodeError;

    const MIN_LEN: usize = 3;
    const MAX_LEN: usize = 3 + Username::MAX_LEN + Password::MAX_LEN;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let username = reader.short()?;
            let password = reader.short()?;
            Ok(Self {
                credentials: Credentials::from_wire(username, password),
            })
        })
    }
}

impl PasswordRequest {
    /// Appends the message with these credentials to `out`.
    pub(crate) fn write(credentials: &Credentials, out: &mut Vec<u8>) {
        let fields = [
            credentials.username.as_bytes(),
            credentials.password.as_bytes(),
        ];
        // A buffer that grows half-way leaves a copy of the password behind.
        out.reserve(Self::MIN_LEN + fields.iter().map(|field| field.len()).sum::<usize>());
        out.push(VERSION);
        for field in fields {
            out.push(u8::try_from(field.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(field);
        }
    }
}

impl Encode for PasswordRequest {
    fn encode(&self, out: &mut Vec<u8>) {
        Self::write(&self.credentials, out);
    }
}

/// The server's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordReply {
    /// 0 lets the client in; any other value, and the server closes.
    pub status: u8,
}

impl PasswordReply {
    /// The client is let in.
    pub const SUCCESS: Self = Self { status: 0 };
    /// The client is turned away.
    pub const FAILURE: Self = Self { status: 1 };
}

impl Decode for PasswordReply {
    type Error = DecodeError;

    const MIN_LEN: usize = 2;
    const MAX_LEN: usize = 2;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let status = reader.u8()?;
            Ok(Self { status })
        })
    }
}

impl Encode for PasswordReply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([VERSION, self.status]);
    }
}
