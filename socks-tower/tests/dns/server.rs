//! A DNS server that does what it is told, right or wrong. It writes its messages by
//! hand: the resolver's own code would agree with itself.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use socks_tower::{DnsResolver, DnsServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::AbortHandle,
};

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const NS: u16 = 2;
pub(crate) const PTR: u16 = 12;
pub(crate) const AAAA: u16 = 28;

pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const REFUSED: u8 = 5;

/// What a client asks.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    id: u16,
    /// In lower case, without the dot at its end.
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) over_tcp: bool,
    question: Vec<u8>,
}

impl Query {
    fn read(message: &[u8], over_tcp: bool) -> Self {
        let mut at = 12;
        let mut labels = Vec::new();
        while message[at] != 0 {
            let len = usize::from(message[at]);
            labels.push(String::from_utf8(message[at + 1..=at + len].to_vec()).unwrap());
            at += 1 + len;
        }
        Self {
            id: u16::from_be_bytes([message[0], message[1]]),
            name: labels.join(".").to_lowercase(),
            kind: u16::from_be_bytes([message[at + 1], message[at + 2]]),
            over_tcp,
            question: message[12..at + 5].to_vec(),
        }
    }

    /// An answer with nothing in it.
    pub(crate) fn reply(&self) -> Reply {
        Reply {
            id: self.id,
            question: self.question.clone(),
            response: true,
            truncated: false,
            code: 0,
            answers: Vec::new(),
            authorities: Vec::new(),
        }
    }

    /// The address of that family that `v4` makes, for a minute.
    pub(crate) fn addr(&self, v4: [u8; 4]) -> Reply {
        self.reply().record(&self.name, A, 60, &v4)
    }

    pub(crate) fn fails(&self, code: u8) -> Reply {
        Reply {
            code,
            ..self.reply()
        }
    }
}

/// An answer, to be spoilt.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) id: u16,
    pub(crate) question: Vec<u8>,
    pub(crate) response: bool,
    pub(crate) truncated: bool,
    pub(crate) code: u8,
    answers: Vec<Vec<u8>>,
    authorities: Vec<Vec<u8>>,
}

impl Reply {
    pub(crate) fn record(mut self, owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.answers.push(record(owner, kind, ttl, data));
        self
    }

    pub(crate) fn authority(mut self, owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.authorities.push(record(owner, kind, ttl, data));
        self
    }

    pub(crate) fn soa(self, ttl: u32) -> Self {
        let mut data = [name("ns.example"), name("root.example")].concat();
        for number in [1, 3600, 600, 86_400, ttl] {
            data.extend(u32::to_be_bytes(number));
        }
        self.authority("example", SOA, ttl, &data)
    }

    fn bytes(&self) -> Vec<u8> {
        let flags = u16::from(self.response) << 15 | u16::from(self.truncated) << 9 | 0x0180;
        let mut message = self.id.to_be_bytes().to_vec();
        message.extend((flags | u16::from(self.code)).to_be_bytes());
        for count in [1, self.answers.len(), self.authorities.len(), 0] {
            message.extend(u16::try_from(count).unwrap().to_be_bytes());
        }
        message.extend(&self.question);
        for record in self.answers.iter().chain(&self.authorities) {
            message.extend(record);
        }
        message
    }
}

pub(crate) fn name(name: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        encoded.push(u8::try_from(label.len()).unwrap());
        encoded.extend(label.as_bytes());
    }
    encoded.push(0);
    encoded
}

fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = name(owner);
    record.extend(kind.to_be_bytes());
    record.extend(1_u16.to_be_bytes());
    record.extend(ttl.to_be_bytes());
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}

/// What a server does about a question.
#[derive(Clone)]
pub(crate) enum Does {
    Answers(Reply),
    /// From another port.
    AnswersFromElsewhere(Reply),
    Sends(Vec<u8>),
    Waits(Duration),
}
pub(crate) use Does::{Answers, AnswersFromElsewhere, Sends, Waits};

type Behaviour = dyn Fn(&Query) -> Vec<Does> + Send + Sync;

/// Ends when it is dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Query>>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Server {
    pub(crate) async fn start(
        behaviour: impl Fn(&Query) -> Vec<Does> + Send + Sync + 'static,
    ) -> Self {
        Self::with(behaviour, true).await
    }

    pub(crate) async fn without_tcp(
        behaviour: impl Fn(&Query) -> Vec<Does> + Send + Sync + 'static,
    ) -> Self {
        Self::with(behaviour, false).await
    }

    async fn with(
        behaviour: impl Fn(&Query) -> Vec<Does> + Send + Sync + 'static,
        tcp: bool,
    ) -> Self {
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let asked = Arc::<Mutex<Vec<Query>>>::default();
        let (udp, listener) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(listener) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, listener);
            }
        };
        // Ten thousand questions at once.
        socket2::SockRef::from(&udp)
            .set_recv_buffer_size(8 << 20)
            .unwrap();
        let addr = udp.local_addr().unwrap();
        let mut tasks = vec![tokio::spawn(serve_udp(
            udp,
            behaviour.clone(),
            asked.clone(),
        ))];
        if tcp {
            tasks.push(tokio::spawn(serve_tcp(listener, behaviour, asked.clone())));
        }
        Self {
            addr,
            asked,
            tasks: tasks.iter().map(|task| task.abort_handle()).collect(),
        }
    }

    /// How often it was asked for `kind` of `name`.
    pub(crate) fn asked(&self, name: &str, kind: u16) -> usize {
        let asked = self.asked.lock().unwrap();
        let same = |query: &&Query| query.name == name && query.kind == kind;
        asked.iter().filter(same).count()
    }

    /// How often it was asked for anything.
    pub(crate) fn asked_at_all(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn serve_udp(udp: UdpSocket, behaviour: Arc<Behaviour>, asked: Arc<Mutex<Vec<Query>>>) {
    let udp = Arc::new(udp);
    let mut message = [0; 4096];
    loop {
        let Ok((len, client)) = udp.recv_from(&mut message).await else {
            continue;
        };
        let query = Query::read(&message[..len], false);
        asked.lock().unwrap().push(query.clone());
        let does = behaviour(&query);
        let udp = udp.clone();
        tokio::spawn(async move {
            for does in does {
                match does {
                    Answers(reply) => _ = udp.send_to(&reply.bytes(), client).await,
                    Sends(bytes) => _ = udp.send_to(&bytes, client).await,
                    Waits(time) => tokio::time::sleep(time).await,
                    AnswersFromElsewhere(reply) => {
                        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                        other.send_to(&reply.bytes(), client).await.unwrap();
                    }
                }
            }
        });
    }
}

async fn serve_tcp(
    listener: TcpListener,
    behaviour: Arc<Behaviour>,
    asked: Arc<Mutex<Vec<Query>>>,
) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (behaviour, asked) = (behaviour.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok(len) = stream.read_u16().await {
                let mut message = vec![0; len.into()];
                stream.read_exact(&mut message).await.unwrap();
                let query = Query::read(&message, true);
                asked.lock().unwrap().push(query.clone());
                for does in behaviour(&query) {
                    if let Answers(reply) = does {
                        let bytes = reply.bytes();
                        stream
                            .write_u16(u16::try_from(bytes.len()).unwrap())
                            .await
                            .unwrap();
                        stream.write_all(&bytes).await.unwrap();
                    }
                }
            }
        });
    }
}

/// Answers each name by the same address, and no question for another family.
pub(crate) fn v4(addr: [u8; 4]) -> impl Fn(&Query) -> Vec<Does> + Send + Sync + 'static {
    move |query| {
        vec![Answers(match query.kind {
            A => query.addr(addr),
            _ => query.reply().soa(60),
        })]
    }
}

/// Asks these alone, and quickly. The machine's names and domains are nobody's business.
pub(crate) fn resolver(servers: &[&Server]) -> DnsResolver {
    let servers: Vec<DnsServer> = servers.iter().map(|server| server.addr.into()).collect();
    DnsResolver::new(servers)
        .with_hosts_file(false)
        .with_search([], 1)
        .with_attempts(1)
        .with_timeout(Duration::from_millis(400))
}

pub(crate) fn v6(last: u16) -> [u8; 16] {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets()
}
