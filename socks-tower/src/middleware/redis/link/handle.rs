use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use redis::{Cmd, FromRedisValue};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ClientConfig;

use super::{
    Line, Member, RedisNumbers, RedisUrlError, Script, Unanswered,
    drive::{drive, proof},
    health::{Connection, Health, State},
    url::Place,
};

/// What happens to connections while Redis does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// Each node goes on by what it counts itself: a limit holds for each node, and not
    /// for all together.
    #[default]
    CountAlone,
    /// What cannot be asked is refused.
    Refuse,
}

/// A node's link to Redis. See the [module's page](crate::middleware::redis).
///
/// Its clones are one link. Set it up before you clone it: what is set later makes
/// another link.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
}

pub(super) struct Link {
    pub(super) options: Options,
    /// What the node is called in Redis, this time.
    id: String,
    health: Arc<Health>,
    members: Mutex<Vec<Joined>>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

struct Joined {
    member: Weak<dyn Member>,
    channels: Vec<String>,
    /// The connection on which it was told that Redis is back.
    told: Option<u64>,
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) place: Place,
    prefix: String,
    node: String,
    pub(super) deadline: Duration,
    outage: Outage,
}

impl Redis {
    /// The Redis at `url`: `redis://[[user]:password@]host[:port][/database]`, or
    /// `unix:///path[?db=&user=&pass=]`. It is connected to at the first question, or by
    /// [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// If the URL is none of these.
    pub fn open(url: &str) -> Result<Self, RedisUrlError> {
        Ok(Self::at(Place::parse(url)?))
    }

    /// The Redis at `url`, `rediss://[[user]:password@]host[:port][/database]`, by TLS.
    /// Its certificate must be for `host`. It comes with the feature `tls`; the
    /// configuration is the caller's, as for [`TlsLayer`](crate::front::tls::TlsLayer).
    ///
    /// # Errors
    ///
    /// If the URL is none of these.
    #[cfg(feature = "tls")]
    pub fn open_tls(url: &str, config: Arc<ClientConfig>) -> Result<Self, RedisUrlError> {
        Ok(Self::at(Place::parse_tls(url, config)?))
    }

    fn at(place: Place) -> Self {
        Self::with(Options {
            place,
            prefix: "socks".to_owned(),
            node: "node".to_owned(),
            deadline: Duration::from_millis(100),
            outage: Outage::default(),
        })
    }

    fn with(options: Options) -> Self {
        // Two processes of one name are two nodes, and so is one that was started again:
        // what the first one held is not the second one's.
        let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let id = format!("{}-{random:016x}", options.node);
        let health = Arc::new(Health::new(options.outage));
        Self {
            link: Arc::new(Link {
                options,
                id,
                health,
                members: Mutex::default(),
                driver: Mutex::default(),
            }),
        }
    }

    /// All keys begin with `{prefix}:`, braces and all; `socks` unless set. Nodes with the
    /// same prefix count together.
    #[must_use]
    pub fn with_prefix(self, prefix: &str) -> Self {
        let mut options = self.link.options.clone();
        options.prefix = prefix.to_owned();
        Self::with(options)
    }

    /// The node's name, for people who look into Redis; `node` unless set. Each start of
    /// a node is told apart from the one before.
    #[must_use]
    pub fn with_node(self, name: &str) -> Self {
        let mut options = self.link.options.clone();
        options.node = name.to_owned();
        Self::with(options)
    }

    /// How long a connection waits for Redis at most; 100 ms unless set.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        let mut options = self.link.options.clone();
        options.deadline = deadline;
        Self::with(options)
    }

    /// What happens while Redis does not answer; [`Outage::CountAlone`] unless set.
    #[must_use]
    pub fn when_gone(self, outage: Outage) -> Self {
        let mut options = self.link.options.clone();
        options.outage = outage;
        Self::with(options)
    }

    /// Connects, and waits for it: so the first client does not. It need not be called,
    /// and what it says may be ignored: the link goes on trying.
    pub async fn connect(&self) -> bool {
        self.start();
        matches!(self.link.settled().await, State::Up(_))
    }

    /// Gives back what this node holds, so that other nodes need not wait until that
    /// lapses, and ends the link, all clones of it. Call it when the last connection has
    /// ended. It takes a second at most.
    pub async fn close(&self) {
        const MOST: Duration = Duration::from_secs(1);
        if let State::Up(connection) = self.link.health.state() {
            let line = self.link.line(connection);
            let closing = async {
                for member in self.link.live_members() {
                    member.close(line.clone()).await;
                }
            };
            let _ = timeout(MOST, closing).await;
        }
        self.link.health.close();
    }

    /// What has become of its questions by now.
    #[must_use]
    pub fn numbers(&self) -> RedisNumbers {
        self.link.health.numbers()
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.link.options.node
    }

    /// What the node is called in Redis: its name, and what tells this start of it from
    /// others.
    pub(crate) fn node_id(&self) -> &str {
        &self.link.id
    }

    pub(crate) fn outage(&self) -> Outage {
        self.link.options.outage
    }

    /// The key of `parts`, or the channel: `{prefix}:part:part`.
    pub(crate) fn key(&self, parts: &[&str]) -> String {
        self.link.key(parts)
    }

    /// Tells `member` when Redis is there, from now on. A member must not hold the
    /// `Redis`, which could not end then; it is forgotten when nobody else holds it.
    pub(crate) fn join(&self, member: &Arc<impl Member>) {
        let member: Arc<dyn Member> = member.clone();
        let mut members = self.link.members();
        members.retain(|joined| joined.member.strong_count() > 0);
        members.push(Joined {
            channels: member.channels(),
            member: Arc::downgrade(&member),
            told: None,
        });
        drop(members);
        self.link.health.joined.notify_one();
    }

    /// One round trip, within the deadline.
    pub(crate) async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, Unanswered> {
        self.line().await?.ask(question).await
    }

    /// As [`ask`](Self::ask), what [`Script::call`] has made.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        call: &Cmd,
    ) -> Result<T, Unanswered> {
        self.line().await?.run(script, call).await
    }

    /// At once, but for the first connection: that is waited for, and what is left of the
    /// deadline is for the answer.
    async fn line(&self) -> Result<Line, Unanswered> {
        let link = &self.link;
        if let State::Up(connection) = link.health.state() {
            return Ok(link.line(connection));
        }
        self.start();
        let began = Instant::now();
        let deadline = link.options.deadline;
        let why = match timeout(deadline, link.settled()).await {
            Ok(State::Up(connection)) => {
                let left = deadline.saturating_sub(began.elapsed());
                return Ok(link.line(connection).within(left));
            }
            Ok(_) => Unanswered::Gone,
            Err(_) => Unanswered::Late(deadline),
        };
        link.health.count_question();
        link.health.count_unanswered();
        Err(why)
    }

    /// Has a task that connects, if there is none: on this runtime, which may not be the
    /// one that had it before.
    pub(crate) fn start(&self) {
        let link = &self.link;
        let mut driver = link.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if driver.as_ref().is_none_or(JoinHandle::is_finished) {
            link.health.connecting();
            let drive = drive(Arc::downgrade(link), Arc::clone(&link.health));
            *driver = Some(tokio::spawn(drive));
        }
    }
}

impl Link {
    fn line(&self, connection: Connection) -> Line {
        Line {
            connection,
            health: Arc::clone(&self.health),
            deadline: self.options.deadline,
        }
    }

    /// How it is, once the first connection is there or has failed.
    async fn settled(&self) -> State {
        let mut states = self.health.watch();
        let settled = |state: &State| !matches!(state, State::Idle | State::Connecting);
        match states.wait_for(settled).await {
            Ok(state) => state.clone(),
            Err(_) => State::Closed,
        }
    }

    fn key(&self, parts: &[&str]) -> String {
        let mut key = format!("{{{}}}", self.options.prefix);
        for part in parts {
            key.push(':');
            key.push_str(part);
        }
        key
    }

    pub(super) fn proof(&self) -> Cmd {
        proof(&self.key(&["node", &self.id]), &self.options.node)
    }

    /// Those who have not been told of this connection.
    pub(super) fn newcomers(&self, id: u64) -> Vec<(Arc<dyn Member>, Vec<String>)> {
        let mut members = self.members();
        let untold = members.iter_mut().filter(|joined| joined.told != Some(id));
        let newcomers = untold.filter_map(|joined| {
            joined.told = Some(id);
            Some((joined.member.upgrade()?, joined.channels.clone()))
        });
        newcomers.collect()
    }

    pub(super) fn heard(&self, channel: &str, payload: &[u8]) {
        let members = self.members();
        let listening = members
            .iter()
            .filter(|joined| joined.channels.iter().any(|own| own == channel))
            .filter_map(|joined| joined.member.upgrade())
            .collect::<Vec<_>>();
        drop(members);
        for member in listening {
            member.heard(channel, payload);
        }
    }

    fn live_members(&self) -> Vec<Arc<dyn Member>> {
        let members = self.members();
        let live = members.iter().filter_map(|joined| joined.member.upgrade());
        live.collect()
    }

    fn members(&self) -> MutexGuard<'_, Vec<Joined>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.health.close();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options {
            place,
            prefix,
            node,
            deadline,
            outage,
        } = &self.link.options;
        f.debug_struct("Redis")
            .field("addr", &place.addr)
            .field("prefix", prefix)
            .field("node", node)
            .field("deadline", deadline)
            .field("outage", outage)
            .finish_non_exhaustive()
    }
}
