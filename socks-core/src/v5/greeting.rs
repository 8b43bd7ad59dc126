//! Which methods the client offers, and which one the server picks (RFC 1928
//! section 3).

use alloc::vec::Vec;

use super::{Method, VERSION};
use crate::{
    DecodeError, FieldError,
    codec::{Decode, Decoded, Encode, Reader},
};

/// The client's first message: the methods that it offers.
///
/// A greeting without a method is well-formed; the answer to it can only be
/// [`Method::NO_ACCEPTABLE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    methods: Vec<u8>,
}

impl Greeting {
    /// The most methods that a greeting can hold.
    pub const MAX_METHODS: usize = 255;

    /// Offers `methods`, in this order.
    ///
    /// # Errors
    ///
    /// If they are more than 255, which the length byte cannot count.
    pub fn new(methods: impl IntoIterator<Item = Method>) -> Result<Self, FieldError> {
        let methods: Vec<u8> = methods.into_iter().map(|method| method.0).collect();
        FieldError::bound("methods", methods.len(), Self::MAX_METHODS)?;
        Ok(Self { methods })
    }

    /// The methods on offer, in the client's order.
    pub fn methods(&self) -> impl Iterator<Item = Method> + '_ {
        self.methods.iter().copied().map(Method)
    }

    /// Whether the client offers `method`.
    #[must_use]
    pub fn offers(&self, method: Method) -> bool {
        self.methods.contains(&method.0)
    }
}

impl Decode for Greeting {
    type Error = DecodeError;

    const MIN_LEN: usize = 2;
    const MAX_LEN: usize = 2 + Self::MAX_METHODS;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let methods = reader.short()?.to_vec();
            Ok(Self { methods })
        })
    }
}

impl Encode for Greeting {
    fn encode(&self, out: &mut Vec<u8>) {
        let count = u8::try_from(self.methods.len()).unwrap_or(u8::MAX);
        out.extend([VERSION, count]);
        out.extend(&self.methods);
    }
}

/// The server's choice among the methods offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// One of the methods offered, or [`Method::NO_ACCEPTABLE`].
    pub method: Method,
}

impl Decode for Selection {
    type Error = DecodeError;

    const MIN_LEN: usize = 2;
    const MAX_LEN: usize = 2;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            reader.expect_version(VERSION)?;
            let method = Method(reader.u8()?);
            Ok(Self { method })
        })
    }
}

impl Encode for Selection {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([VERSION, self.method.0]);
    }
}
