//! Limits: how much of what, for whom.

use std::{num::NonZeroUsize, str::FromStr, sync::Arc};

use socks_tower::{
    Group, Host, Identity, Session,
    middleware::{
        BandwidthLayer, ByteRate, ClientKey, LiveLimitLayer, MemoryQuota, QuotaLayer, QuotaStore,
        Rate, RateLimitLayer, redis::RedisQuota,
    },
};

use super::{
    amounts::{bytes, per},
    groups::{Groups, Member},
    words::{Fault, words},
};
use crate::{config::Config, kept::Kept, shared::Shared};

/// `user=joe bandwidth=1MB`, `per=client connections=64`. It is for those whom `user=` and
/// `client=` name, or for all; `per=` says who share it.
#[derive(Clone)]
pub struct Limit {
    users: Vec<String>,
    clients: Vec<Member>,
    per: Per,
    /// Nodes do not count it together.
    per_node: bool,
    pub(super) connections: Option<NonZeroUsize>,
    pub(super) new: Option<Rate>,
    bandwidth: Option<ByteRate>,
    quota: Option<(u64, std::time::Duration)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Per {
    User,
    Client,
    Tunnel,
    All,
}

impl FromStr for Limit {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let mut limit = Self {
            users: Vec::new(),
            clients: Vec::new(),
            per: Per::Client,
            per_node: false,
            connections: None,
            new: None,
            bandwidth: None,
            quota: None,
        };
        let mut said_per = None;
        let mut up = None;
        let mut down = None;
        for word in words(text)? {
            match &*word.key {
                "user" => limit.users = word.each(|it| Ok::<_, Fault>(it.to_owned()))?,
                "client" => limit.clients = word.each(str::parse)?,
                "per-node" if word.values.is_none() => limit.per_node = true,
                "per" => said_per = Some(word.one(str::parse)?),
                "connections" => limit.connections = Some(word.one(str::parse)?),
                "new" => limit.new = Some(word.one(rate)?),
                "bandwidth" => {
                    let both = word.one(bytes)?;
                    (up, down) = (Some(both), Some(both));
                }
                "up" => up = Some(word.one(bytes)?),
                "down" => down = Some(word.one(bytes)?),
                "quota" => limit.quota = Some(word.one(quota)?),
                other => {
                    let keys = "user=, client=, per=, per-node, connections=, new=, bandwidth=, up=, \
                                down= and quota=";
                    return Err(format!("{other:?} is none of a limit's keys: {keys}").into());
                }
            }
        }
        if up.is_some() || down.is_some() {
            limit.bandwidth = Some(ByteRate::per_second(0).with_up(up).with_down(down));
        }
        let counts = limit.connections.is_some() || limit.new.is_some() || limit.quota.is_some();
        if !counts && limit.bandwidth.is_none() {
            return Err("it limits nothing: say connections=, new=, bandwidth= or quota=".into());
        }
        let of_users = !limit.users.is_empty();
        limit.per = said_per.unwrap_or(if of_users { Per::User } else { Per::Client });
        if counts && limit.per == Per::Tunnel {
            return Err("per=tunnel is for bandwidth= alone".into());
        }
        Ok(limit)
    }
}

impl Limit {
    /// Whether it counts connections, and all nodes' if there are several.
    pub(super) fn is_shared(&self) -> bool {
        !self.per_node && (self.connections.is_some() || self.new.is_some())
    }
}

impl Per {
    fn key(self, session: &Session) -> Key {
        match self {
            Self::User => Key::User(session.identity.clone()),
            Self::Client => Key::Client(ClientKey::of_session(session)),
            Self::Tunnel | Self::All => Key::All,
        }
    }

    fn quota(self, store: impl QuotaStore) -> QuotaLayer {
        match self {
            Self::User => QuotaLayer::per_identity(store),
            Self::Client => QuotaLayer::per_client(store),
            Self::Tunnel | Self::All => QuotaLayer::overall(store),
        }
    }
}

impl FromStr for Per {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        match text {
            "user" => Ok(Self::User),
            "client" => Ok(Self::Client),
            "tunnel" => Ok(Self::Tunnel),
            "all" => Ok(Self::All),
            _ => Err("not one of user, client, tunnel and all".into()),
        }
    }
}

fn rate(text: &str) -> Result<Rate, Fault> {
    let (count, per) = per(text)?;
    Ok(Rate::new(count.parse()?, per))
}

fn quota(text: &str) -> Result<(u64, std::time::Duration), Fault> {
    let (amount, per) = per(text)?;
    Ok((bytes(amount)?, per))
}

/// Who shares a limit.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Key {
    User(Option<Identity>),
    Client(Option<ClientKey>),
    All,
}

/// A limit that counts.
#[derive(Clone)]
pub struct Counting {
    whom: Arc<Whom>,
    per: Per,
    pub connections: Option<LiveLimitLayer<Key>>,
    pub new: Option<RateLimitLayer<Key>>,
    pub bandwidth: Option<BandwidthLayer>,
    pub quota: Option<QuotaLayer>,
}

struct Whom {
    users: Vec<String>,
    clients: Vec<Group>,
}

impl Counting {
    /// What `shared` counts is not counted here. Nodes that call it the same count together.
    fn new(name: &str, limit: &Limit, clients: Vec<Group>, shared: Option<&Shared>) -> Self {
        let per = limit.per;
        let key = move |session: &Session| Some(per.key(session));
        let alone = shared.is_none() || limit.per_node;
        Self {
            per,
            whom: Arc::new(Whom {
                users: limit.users.clone(),
                clients,
            }),
            connections: limit
                .connections
                .filter(|_| alone)
                .map(|max| LiveLimitLayer::by(max.get(), key)),
            new: limit
                .new
                .filter(|_| alone)
                .map(|rate| RateLimitLayer::by(rate, key)),
            bandwidth: limit.bandwidth.map(|rate| match per {
                Per::Tunnel => BandwidthLayer::per_tunnel(rate),
                _ => BandwidthLayer::by(rate, key),
            }),
            quota: limit
                .quota
                .map(|(bytes, period)| match shared.filter(|_| !alone) {
                    Some(shared) => {
                        let store = RedisQuota::new(&shared.redis, name, bytes, period);
                        per.quota(store)
                    }
                    None => per.quota(MemoryQuota::new(bytes, period)),
                }),
        }
    }

    /// Who shares it with a session that it is about.
    pub fn key(&self, session: &Session) -> Option<Key> {
        self.is_about(session).then(|| self.per.key(session))
    }

    pub fn is_about(&self, session: &Session) -> bool {
        let Whom { users, clients } = &*self.whom;
        let is_user = || {
            let identity = session.identity.as_ref().map(Identity::as_str);
            users.iter().any(|user| identity == Some(user))
        };
        let is_client = || {
            let client = session.client_addr.map(|addr| Host::Ip(addr.ip()));
            client.is_some_and(|ip| clients.iter().any(|group| group.contains(&ip)))
        };
        (users.is_empty() || is_user()) && (clients.is_empty() || is_client())
    }
}

/// All limits, which count on from before where they are the same.
pub fn limits(
    config: &Config,
    groups: &Groups,
    shared: Option<&Shared>,
    kept: &mut Kept,
) -> Result<Arc<[Counting]>, String> {
    let link = shared.map(|shared| &shared.made_of);
    let all = config.limit.iter().enumerate().map(|(number, limit)| {
        let clients = limit
            .clients
            .iter()
            .map(|client| client.group(groups).cloned());
        let clients = clients.collect::<Result<Vec<_>, _>>().map_err(|error| {
            let at = config.said.member("limit", number);
            format!("{at}: {error}")
        })?;
        let name = format!("{limit:?}");
        let mut counting = kept.or_made(format!("limit {name}"), link, || {
            Counting::new(&name, limit, clients.clone(), shared)
        });
        // Groups may have changed.
        counting.whom = Arc::new(Whom {
            users: limit.users.clone(),
            clients,
        });
        Ok(counting)
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_or_what_is_wrong_is_said() {
        for limit in [
            "user=joe bandwidth=1MB",
            "per=client connections=64 new=100/minute",
            "per=all quota=1TB/month down=10MB",
            "per=all connections=5000 per-node",
            "client=@office,192.0.2.0/24 per=tunnel up=500kB",
        ] {
            assert!(limit.parse::<Limit>().is_ok(), "{limit}");
        }
        for (limit, why) in [
            ("", "limits nothing"),
            ("user=joe", "limits nothing"),
            ("rate=1MB", "\"rate\" is none of a limit's keys"),
            ("bandwidth=fast", "bandwidth=fast: not a number of bytes"),
            ("new=100", "new=100: not so many in a time"),
            ("per=tunnel connections=1", "per=tunnel is for bandwidth="),
            ("per=house connections=1", "not one of user"),
            ("connections=0", "connections=0"),
        ] {
            let error = limit.parse::<Limit>().map(drop).unwrap_err().to_string();
            assert!(error.contains(why), "{limit}: {error}");
        }
    }

    #[test]
    fn a_limit_is_for_those_whom_it_names() {
        let limit = |text: &str| {
            let limit: Limit = text.parse().unwrap();
            let groups = Groups::default();
            let clients = limit
                .clients
                .iter()
                .map(|it| it.group(&groups).unwrap().clone());
            Counting::new(text, &limit, clients.collect(), None)
        };
        let joe = Session::new()
            .with_identity(Identity::new("joe"))
            .with_client_addr("192.0.2.7:9".parse().unwrap());
        for (text, holds) in [
            ("connections=1", true),
            ("user=ann,joe connections=1", true),
            ("user=ann connections=1", false),
            ("client=192.0.2.0/24 connections=1", true),
            ("user=joe client=198.51.100.0/24 connections=1", false),
        ] {
            assert_eq!(limit(text).is_about(&joe), holds, "{text}");
        }
        assert!(!limit("user=joe connections=1").is_about(&Session::new()));
    }
}
