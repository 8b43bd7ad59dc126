//! The link of a node to Redis: one connection, which all questions share.

mod connect;
mod drive;
mod handle;
mod health;
mod line;
mod member;
mod script;
mod unanswered;
mod url;

pub use handle::{Outage, Redis};
pub use health::RedisNumbers;
pub use url::RedisUrlError;
pub(crate) use {
    line::Line,
    member::{Member, MemberFuture, every},
    script::Script,
    unanswered::Unanswered,
};
