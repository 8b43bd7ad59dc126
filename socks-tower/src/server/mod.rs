//! Accepts connections and gives each to a stack.

mod listener;
mod serve;

pub use listener::{Listener, listen};
pub use serve::{Proxy, ServeError, Server};
