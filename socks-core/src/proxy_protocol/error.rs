use thiserror::Error;

/// The bytes are no header of the PROXY protocol.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// They do not begin as one.
    #[error("no PROXY header")]
    Signature,
    /// A line of version 1 is not as it must be.
    #[error("malformed PROXY line")]
    Line,
    /// A line of version 1 goes on past its cap.
    #[error("PROXY line longer than {} bytes", super::v1::MAX_LEN)]
    LineTooLong,
    /// Neither LOCAL nor PROXY, or not version 2.
    #[error("PROXY version and command {0:#04x} is not known")]
    Command(u8),
    /// The byte for address family and transport has an unassigned value.
    #[error("PROXY address family {0:#04x} is not known")]
    Family(u8),
    /// The addresses, or an extension, go on past the end of the header.
    #[error("PROXY header is shorter than what is in it")]
    Length,
    /// An extension (TLV) is not as it must be.
    #[error("malformed extension {0:#04x} of a PROXY header")]
    Extension(u8),
    /// The checksum is another.
    #[error("wrong checksum of a PROXY header")]
    Checksum,
}
