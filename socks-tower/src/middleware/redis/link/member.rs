use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Line, Unanswered};

pub(crate) type MemberFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who keeps state in Redis, and is told when that is there. It is joined with
/// [`Redis::join`](super::Redis::join).
pub(crate) trait Member: Send + Sync + 'static {
    /// What it listens to, whole names.
    fn channels(&self) -> Vec<String> {
        Vec::new()
    }

    /// Something was published in one of its channels. It must not block, nor ask.
    fn heard(&self, _channel: &str, _payload: &[u8]) {}

    /// Redis is there, anew or again, and may have forgotten everything. Nobody asks it
    /// anything before this is done; its channels are listened to already. It takes a
    /// second at most.
    fn back(self: Arc<Self>, _line: Line) -> MemberFuture<Result<(), Unanswered>> {
        Box::pin(async { Ok(()) })
    }

    /// What it does while there is a connection: it is begun after [`back`](Self::back),
    /// and dropped when the connection is lost.
    fn serve(self: Arc<Self>, _line: Line) -> MemberFuture<()> {
        Box::pin(async {})
    }

    /// The node ends ([`Redis::close`](super::Redis::close)): what it holds can be given
    /// back.
    fn close(self: Arc<Self>, _line: Line) -> MemberFuture<()> {
        Box::pin(async {})
    }
}

/// A member's [`serve`](Member::serve): does `work`, and does it again `period` after that,
/// for as long as there is a member.
pub(crate) fn every<M: Member>(
    period: Duration,
    member: Arc<M>,
    line: Line,
    work: fn(Arc<M>, Line) -> MemberFuture<()>,
) -> MemberFuture<()> {
    let member = Arc::downgrade(&member);
    Box::pin(async move {
        while let Some(member) = member.upgrade() {
            work(member, line.clone()).await;
            sleep(period).await;
        }
    })
}
