//! Decides who may reach what, around a connector.

mod layer;
mod service;
mod special;

pub use layer::AuthorizeLayer;
pub use service::{Authorize, AuthorizeFuture};
pub use special::{SpecialPurpose, special_purpose};
