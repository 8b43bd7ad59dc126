//! The header of a relayed datagram (RFC 1928 section 7).
//!
//! ```
//! use socks_core::{Decode, Decoded, Encode, v5::udp::{Fragment, Header}};
//!
//! let header = Header {
//!     fragment: Fragment::STANDALONE,
//!     target: "192.0.2.7:53".parse()?,
//! };
//! let mut datagram = header.to_bytes();
//! datagram.extend(b"question");
//!
//! // A header that its datagram cuts short is no header: nothing follows.
//! let Decoded::Complete { message, consumed } = Header::decode(&datagram)? else {
//!     panic!("a whole header")
//! };
//! assert_eq!(message, header);
//! assert_eq!(&datagram[consumed..], b"question");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;

use super::address;
use crate::{
    DecodeError, Target,
    codec::{Decode, Decoded, Encode, Reader},
};

/// FRAG: whether a datagram stands alone, or which piece of one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment(pub u8);

impl Fragment {
    /// Not a fragment.
    pub const STANDALONE: Self = Self(0);

    /// Whether this is a datagram of its own.
    #[must_use]
    pub const fn is_standalone(self) -> bool {
        self.0 == 0
    }

    /// The place among the fragments, 1 to 127; 0 for none.
    #[must_use]
    pub const fn position(self) -> u8 {
        self.0 & 0x7f
    }

    /// Whether the high bit marks the last fragment.
    #[must_use]
    pub const fn is_last(self) -> bool {
        self.0 & 0x80 != 0
    }
}

/// What stands before the data of every datagram between client and relay, in
/// both directions. The data is what follows the header in its datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which piece this is.
    pub fragment: Fragment,
    /// Where to, from the client; where from, from the relay.
    pub target: Target,
}

impl Header {
    /// The longest header, in bytes: a name of 255.
    pub const MAX_LEN: usize = 3 + address::MAX_LEN;
}

impl Decode for Header {
    type Error = DecodeError;

    const MIN_LEN: usize = 3 + address::MIN_LEN;
    const MAX_LEN: usize = Self::MAX_LEN;

    fn decode(input: &[u8]) -> Result<Decoded<Self>, DecodeError> {
        Reader::run(input, |reader| {
            let [_reserved, _also_reserved, fragment] = reader.array()?;
            Ok(Self {
                fragment: Fragment(fragment),
                target: address::read(reader)?,
            })
        })
    }
}

impl Encode for Header {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([0, 0, self.fragment.0]);
        address::write(&self.target, out);
    }
}
