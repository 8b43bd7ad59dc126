//! How many connections there may be at once.

mod hold;
mod layer;
mod places;
mod service;

pub use hold::Hold;
pub use layer::LiveLimitLayer;
pub use service::{LiveLimit, LiveLimitFuture};
