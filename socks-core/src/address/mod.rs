//! Where a client wants to go: a host and a port.

mod host;
mod literal;
mod name;
mod target;

pub use host::Host;
pub use name::DomainName;
pub use target::{ParseTargetError, Target};
