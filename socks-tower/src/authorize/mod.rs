//! Decides who may reach what, around a connector.

mod layer;
mod service;

pub use layer::AuthorizeLayer;
pub use service::{Authorize, AuthorizeFuture};
