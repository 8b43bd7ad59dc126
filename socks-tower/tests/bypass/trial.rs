//! A whole stack, the bytes it is fed, and what its connector is asked for.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use socks_tower::{
    Accepted, AuthenticateLayer, AuthorizeLayer, BoxError, ConnectLayer, Connector, DomainName,
    Error, HandshakeLayer, NameRules, NoAuth, Pinned, Relay, Request, ResolveLayer, Rules, Session,
    Socks, Transfer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::words::{Told, Words};

type Proxy = BoxCloneSyncService<Accepted<DuplexStream>, Transfer, Error>;

/// A proxy, and what its connector has been asked for.
#[derive(Clone)]
pub(crate) struct Trial {
    proxy: Proxy,
    session: Session,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    pub(crate) lookups: Arc<Mutex<usize>>,
}

pub(crate) type Answers = HashMap<DomainName, Vec<Vec<IpAddr>>>;

/// What names resolve to: one answer for each time that they are asked for,
/// the last of them from then on.
pub(crate) fn answers<const N: usize>(names: [(&str, &[&[&str]]); N]) -> Answers {
    let ips = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
    names
        .into_iter()
        .map(|(name, answers)| (name.parse().unwrap(), answers.iter().map(ips).collect()))
        .collect()
}

impl Trial {
    /// The resolver, the rules, a connector for addresses.
    pub(crate) fn resolving(rules: Rules, answers: Answers) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let lookups = Arc::<Mutex<usize>>::default();
        let answers = Arc::new(answers);
        let resolver = service_fn({
            let lookups = lookups.clone();
            move |Request { target: name, .. }: Request<DomainName>| {
                let mut lookups = lookups.lock().unwrap();
                let answer = answers
                    .get(&name)
                    .and_then(|answers| answers.get(*lookups).or(answers.last()))
                    .cloned()
                    .ok_or(BoxError::from("no such host"));
                *lookups += 1;
                async move { answer }
            }
        });
        let connector = ServiceBuilder::new()
            .layer(ResolveLayer::new(resolver))
            .layer(AuthorizeLayer::new(rules))
            .service(dial(&asked));
        Self {
            proxy: proxy(connector),
            session: Session::new(),
            asked,
            lookups,
        }
    }

    /// The rules for names, a connector that passes names on.
    pub(crate) fn forwarding(rules: NameRules) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let forward = service_fn({
            let asked = asked.clone();
            move |request: Request| {
                asked.lock().unwrap().push(request.target.to_string());
                async { Ok::<_, BoxError>(closed_stream()) }
            }
        });
        let connector = ServiceBuilder::new()
            .layer(AuthorizeLayer::new(rules))
            .service(forward);
        Self {
            proxy: proxy(connector),
            session: Session::new(),
            asked,
            lookups: Arc::default(),
        }
    }

    /// The ready-made proxy, with another connector: its rules stay.
    ///
    /// It asks the system's resolver: give it no names but `localhost`.
    fn ready_made() -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let proxy = Socks::new().with_connector(dial(&asked));
        Self {
            proxy: BoxCloneSyncService::new(proxy),
            session: Session::new(),
            asked,
            lookups: Arc::default(),
        }
    }

    /// All kinds, with the rules as they are unless told otherwise.
    pub(crate) fn defaults() -> [Self; 3] {
        [
            Self::ready_made(),
            Self::resolving(Rules::new(), Answers::new()),
            Self::forwarding(NameRules::new(Rules::new())),
        ]
    }

    pub(crate) fn with_session(mut self, session: Session) -> Self {
        self.session = session;
        self
    }

    /// Runs one session, and gives what the client is told.
    pub(crate) async fn tell(&self, words: &Words) -> Told {
        let (mut client, io) = duplex(4096);
        let accepted = Accepted::new(io, self.session.clone());
        let run = tokio::spawn(self.proxy.clone().oneshot(accepted));
        client.write_all(&words.bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        let outcome = run.await.unwrap();
        let told = words.read(&heard);
        assert_eq!(outcome.is_ok(), told == Told::Granted, "{words:?}");
        told
    }

    pub(crate) async fn refuses(&self, words: &Words) {
        assert_eq!(self.tell(words).await, Told::NotAllowed, "{words:?}");
        let asked = self.asked.lock().unwrap();
        assert!(asked.is_empty(), "{words:?}: {asked:?}");
    }

    pub(crate) async fn reaches(&self, words: &Words, expected: &[&str]) {
        assert_eq!(self.tell(words).await, Told::Granted, "{words:?}");
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        assert_eq!(asked, expected, "{words:?}");
    }
}

/// A connector that answers any address.
fn dial(
    asked: &Arc<Mutex<Vec<String>>>,
) -> impl Connector<Request<Pinned>, Future: Send + 'static> + Sync {
    let asked = asked.clone();
    service_fn(move |request: Request<Pinned>| {
        let addrs = request.target.addrs().iter().map(SocketAddr::to_string);
        asked.lock().unwrap().extend(addrs);
        async { Ok::<_, BoxError>(closed_stream()) }
    })
}

fn proxy(connector: impl Connector<Request> + Sync) -> Proxy {
    let stack = ServiceBuilder::new()
        .layer(HandshakeLayer::new())
        .layer(AuthenticateLayer::new(NoAuth))
        .layer(ConnectLayer::new(connector))
        .service(Relay::new());
    BoxCloneSyncService::new(stack)
}

/// A target that has hung up already.
fn closed_stream() -> DuplexStream {
    duplex(64).0
}
