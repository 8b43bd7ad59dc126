//! Who may do what, and how much of it: rules and limits, each of which is a text, and the
//! groups of networks and names that they speak of.

mod amounts;
mod groups;
mod limited;
mod limits;
mod rules;
mod together;
mod words;

pub use groups::{Groups, NamedGroup};
pub use limited::LimitedLayer;
pub use limits::{Limit, limits};
pub use rules::{Rule, rules};
pub use together::together;
