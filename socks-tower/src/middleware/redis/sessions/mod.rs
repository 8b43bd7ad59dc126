//! The sessions of all nodes.

mod record;

use std::{fmt, sync::Arc, time::Duration};

use redis::cmd;

pub use self::record::FleetSession;
use super::{Line, Member, MemberFuture, Redis, Script, every};
use crate::{
    middleware::sessions::Sessions,
    session::{BoxError, SessionId},
};

static PUBLISH: Script = Script::new(include_str!("publish.lua"));

/// How often a node says which sessions it has.
const EVERY: Duration = Duration::from_secs(2);

/// For how long that holds, in milliseconds.
const HOLDS: u64 = 10_000;

/// The most sessions of a node that are in its list, the oldest.
const MOST: usize = 1000;

/// The sessions of all nodes, on a [`Redis`]. See
/// [A fleet](crate::middleware::sessions#a-fleet).
#[derive(Clone)]
pub struct FleetSessions {
    redis: Redis,
    _node: Arc<Node>,
}

/// What a node has said of its sessions, some seconds ago at most.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeSessions {
    /// Which node: what [`FleetSessions::end`] calls it.
    pub node: String,
    /// How many sessions it has.
    pub total: usize,
    /// The oldest of them, 1,000 at most.
    pub sessions: Vec<FleetSession>,
}

struct Node {
    id: String,
    keys: [String; 2],
    channel: String,
    sessions: Sessions,
}

impl FleetSessions {
    /// Publishes `sessions`, those of this node, every 2 seconds, until the last clone is
    /// dropped.
    #[must_use]
    pub fn new(redis: &Redis, sessions: Sessions) -> Self {
        let id = redis.node_id();
        let node = Arc::new(Node {
            keys: [redis.key(&["sessions", id]), redis.key(&["sessions"])],
            channel: redis.key(&["sessions", id, "end"]),
            id: id.to_owned(),
            sessions,
        });
        redis.join(&node);
        Self {
            redis: redis.clone(),
            _node: node,
        }
    }

    /// What each node has said; one that died is in it for 10 seconds more.
    ///
    /// # Errors
    ///
    /// If Redis does not answer.
    pub async fn list(&self) -> Result<Vec<NodeSessions>, BoxError> {
        let mut ids = cmd("ZRANGE");
        ids.arg(self.redis.key(&["sessions"])).arg(0).arg(-1);
        let ids: Vec<String> = self.redis.ask(&ids).await?;
        let mut nodes = Vec::new();
        // One by one, as a connection's question may be waiting behind it.
        for node in ids {
            let mut list = cmd("GET");
            list.arg(self.redis.key(&["sessions", &node]));
            let list: Option<String> = self.redis.ask(&list).await?;
            if let Some((total, sessions)) = list.as_deref().and_then(record::read) {
                nodes.push(NodeSessions {
                    node,
                    total,
                    sessions,
                });
            }
        }
        Ok(nodes)
    }

    /// Has a node end the session of this number, if that is live; false if there is no
    /// such node. It has not ended yet then.
    ///
    /// # Errors
    ///
    /// If Redis does not answer.
    pub async fn end(&self, node: &str, id: SessionId) -> Result<bool, BoxError> {
        let mut end = cmd("PUBLISH");
        end.arg(self.redis.key(&["sessions", node, "end"]));
        end.arg(id.get());
        Ok(self.redis.ask::<u64>(&end).await? > 0)
    }
}

impl Member for Node {
    fn channels(&self) -> Vec<String> {
        vec![self.channel.clone()]
    }

    fn heard(&self, _: &str, payload: &[u8]) {
        let number = str::from_utf8(payload).ok().and_then(|id| id.parse().ok());
        if let Some(number) = number {
            self.sessions.end(SessionId::new(number));
        }
    }

    fn serve(self: Arc<Self>, line: Line) -> MemberFuture<()> {
        every(EVERY, self, line, |this, line| {
            Box::pin(async move {
                let list = record::write(this.sessions.len(), &this.sessions.oldest(MOST));
                let mut call = PUBLISH.call(2);
                call.arg(&this.keys).arg(&this.id).arg(list).arg(HOLDS);
                // The next one will do.
                let _ = line.run::<()>(&PUBLISH, &call).await;
            })
        })
    }

    fn close(self: Arc<Self>, line: Line) -> MemberFuture<()> {
        Box::pin(async move {
            let [list, nodes] = &self.keys;
            let mut gone = redis::pipe();
            gone.del(list).zrem(nodes, &self.id);
            let _ = line.ask_all::<redis::Value>(&gone).await;
        })
    }
}

impl fmt::Debug for FleetSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetSessions").finish_non_exhaustive()
    }
}
