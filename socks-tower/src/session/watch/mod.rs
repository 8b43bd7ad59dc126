//! Who watches a session, and what it is told. Public as
//! [`observe`](crate::middleware::observe), which has the docs.

mod observer;
mod record;
mod summary;
#[expect(
    clippy::module_inception,
    reason = "named for the type in it, as its neighbours are"
)]
mod watch;

pub use observer::{CarriedReport, Observer, StageKind, StageReport};
pub use record::Record;
pub use summary::{Failure, Outcome, Summary};
pub(crate) use watch::{Watch, Watching};
