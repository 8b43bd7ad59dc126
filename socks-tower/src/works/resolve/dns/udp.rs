//! Sockets that queries share, and that pass over what is no answer.
//!
//! A query has a socket of its own, with a random port, as long as there are not many.
//! With ten thousand pending they share them, or each would take a descriptor. A
//! datagram is an answer if it comes from the server, is a response, and has the id and
//! the question of a query that is pending on that socket (RFC 5452 section 9.1).
//! Whatever else comes is passed over, and the wait goes on.

use std::{
    collections::HashMap,
    future::{Future, ready as ready_with},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use hickory_resolver::{
    ConnectionProvider, PoolContext,
    config::{ConnectionConfig, ProtocolConfig},
    net::{
        NetError,
        runtime::{DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime},
        udp::UdpClientStream,
        xfer::DnsExchange,
    },
};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, Sleep, sleep},
};

use crate::session::copy_error;

/// Sockets to one server before queries share them.
const MAX_SOCKETS: usize = 64;

/// When a query is sent again that has had no answer; then after twice the time, and so
/// on.
const RESEND: Duration = Duration::from_millis(500);

/// The most that an answer over UDP has, and more than we ask for.
const MAX_DATAGRAM: usize = 4096;

/// The header of a message.
const HEADER: usize = 12;

/// Gives hickory its connections: its own, but that a query over UDP is one attempt. It
/// would make four, each with a socket and a buffer, and what they share sends again by
/// itself.
#[derive(Clone, Default)]
pub(super) struct Connections(Provider);

impl ConnectionProvider for Connections {
    type Conn = DnsExchange<Provider>;
    type FutureConn = <Provider as ConnectionProvider>::FutureConn;
    type RuntimeProvider = Provider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        if config.protocol != ProtocolConfig::Udp {
            return self.0.new_connection(ip, config, context);
        }
        let server = SocketAddr::new(ip, config.port);
        let exchange = UdpClientStream::builder(server, self.0.clone())
            .with_timeout(Some(context.options.timeout))
            .with_max_retries(1)
            .exchange();
        Ok(Box::pin(ready_with(Ok(exchange))))
    }

    fn runtime_provider(&self) -> &Provider {
        &self.0
    }
}

/// Gives hickory its sockets.
#[derive(Clone, Default)]
pub(super) struct Provider {
    tokio: TokioRuntimeProvider,
    sockets: Arc<Mutex<HashMap<SocketAddr, Vec<Weak<Shared>>>>>,
}

/// A socket, while there are queries on it.
struct Shared {
    socket: Arc<UdpSocket>,
    pending: Arc<Pending>,
    reader: AbortHandle,
}

/// Who waits for the answer to what: by id, the question and where the answer goes.
#[derive(Default)]
struct Pending {
    queries: Mutex<HashMap<u16, Vec<(Vec<u8>, Inbox)>>>,
}

type Inbox = mpsc::Sender<io::Result<Vec<u8>>>;

/// The end of a socket that one query has.
pub(super) struct QuerySocket {
    shared: Arc<Shared>,
    server: SocketAddr,
    inbox: Inbox,
    query: Mutex<SentQuery>,
}

/// What was sent, and what came.
struct SentQuery {
    message: Vec<u8>,
    answers: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// When to send it again.
    resend: Pin<Box<Sleep>>,
    patience: Duration,
}

impl Provider {
    fn open(&self, local: SocketAddr, server: SocketAddr) -> io::Result<Arc<Shared>> {
        let mut sockets = lock(&self.sockets);
        let open = sockets.entry(server).or_default();
        open.retain(|socket| socket.strong_count() > 0);
        let shared: Vec<_> = open.iter().filter_map(Weak::upgrade).collect();
        if shared.len() >= MAX_SOCKETS
            && let Some(least) = shared.iter().min_by_key(|shared| Arc::strong_count(shared))
        {
            return Ok(least.clone());
        }
        let shared = Arc::new(Shared::open(local, server)?);
        open.push(Arc::downgrade(&shared));
        Ok(shared)
    }
}

impl Shared {
    fn open(local: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(local)?;
        // The system passes over what others send, and tells of a closed port.
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let pending = Arc::new(Pending::default());
        let reader = tokio::spawn(read(socket.clone(), pending.clone()));
        Ok(Self {
            socket,
            pending,
            reader: reader.abort_handle(),
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(socket: Arc<UdpSocket>, pending: Arc<Pending>) {
    let mut datagram = vec![0; MAX_DATAGRAM];
    loop {
        match socket.recv(&mut datagram).await {
            Ok(len) => pending.answered(datagram.get(..len).unwrap_or_default()),
            // Nobody is at the server's port, or it cannot be reached.
            Err(error) => pending.failed(&error),
        }
    }
}

impl Pending {
    fn answered(&self, datagram: &[u8]) {
        let Some((id, question)) = answer(datagram) else {
            return;
        };
        let queries = lock(&self.queries);
        for (asked, inbox) in queries.get(&id).into_iter().flatten() {
            if is_same(asked, question) {
                // Whoever has one that it has not looked at needs no other.
                let _ = inbox.try_send(Ok(datagram.to_vec()));
            }
        }
    }

    fn failed(&self, error: &io::Error) {
        for (_, inbox) in lock(&self.queries).values().flatten() {
            let _ = inbox.try_send(Err(copy_error(error)));
        }
    }
}

impl DnsUdpSocket for QuerySocket {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut query = lock(&self.query);
        let received = loop {
            if let Poll::Ready(received) = query.answers.poll_recv(cx) {
                break received;
            }
            ready!(query.resend.as_mut().poll(cx));
            // What there is no room for is lost as on the network.
            let _ = self.shared.socket.try_send(&query.message);
            query.patience *= 2;
            let next = Instant::now() + query.patience;
            query.resend.as_mut().reset(next);
        };
        // There is a sender in `self`, so it does not end.
        let datagram = received.unwrap_or(Err(io::ErrorKind::BrokenPipe.into()))?;
        let len = datagram.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), datagram.get(..len)) {
            to.copy_from_slice(from);
        }
        Poll::Ready(Ok((len, self.server)))
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        query: &[u8],
        _: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let mut sent = lock(&self.query);
        if sent.message.is_empty()
            && let Some((id, question)) = parts(query)
        {
            sent.message = query.to_vec();
            let mut queries = lock(&self.shared.pending.queries);
            let of_id = queries.entry(id).or_default();
            of_id.push((question.to_vec(), self.inbox.clone()));
        }
        // Of several that wait for room the last is woken; the others are asked again,
        // as if the network had lost them.
        self.shared.socket.poll_send(cx, query)
    }
}

impl Drop for QuerySocket {
    fn drop(&mut self) {
        let Some((id, _)) = parts(&lock(&self.query).message) else {
            return;
        };
        let mut queries = lock(&self.shared.pending.queries);
        if let Some(of_id) = queries.get_mut(&id) {
            of_id.retain(|(_, inbox)| !inbox.same_channel(&self.inbox));
            if of_id.is_empty() {
                queries.remove(&id);
            }
        }
    }
}

type BoxResult<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl RuntimeProvider for Provider {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = QuerySocket;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> TokioHandle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> BoxResult<Self::Tcp> {
        self.tokio.connect_tcp(server, local, timeout)
    }

    /// `local` has a random port.
    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> BoxResult<QuerySocket> {
        let shared = self.open(local, server);
        Box::pin(async move {
            let (inbox, answers) = mpsc::channel(1);
            Ok(QuerySocket {
                shared: shared?,
                server,
                inbox,
                query: Mutex::new(SentQuery {
                    message: Vec::new(),
                    answers,
                    resend: Box::pin(sleep(RESEND)),
                    patience: RESEND,
                }),
            })
        })
    }
}

/// Id and question of what may be an answer.
fn answer(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let is_response = datagram.get(2)? & 0x80 != 0;
    parts(datagram).filter(|_| is_response)
}

/// The id of a message with one question, and that question.
fn parts(message: &[u8]) -> Option<(u16, &[u8])> {
    let (header, body) = message.split_at_checked(HEADER)?;
    let &[id_high, id_low, _, _, 0, 1, ..] = header else {
        return None;
    };
    // Labels up to the root, then type and class. The first name has nothing to point at.
    let mut at = 0;
    loop {
        match *body.get(at)? {
            0 => break,
            len @ 1..=63 => at += 1 + usize::from(len),
            _ => return None,
        }
    }
    let question = body.get(..at + 5)?;
    Some((u16::from_be_bytes([id_high, id_low]), question))
}

/// Names are equal whatever their case; the four bytes behind, type and class, are not.
fn is_same(asked: &[u8], question: &[u8]) -> bool {
    let split = |question: &'_ [u8]| question.len().saturating_sub(4);
    let (asked, asked_type) = asked.split_at(split(asked));
    let (name, name_type) = question.split_at(split(question));
    asked.eq_ignore_ascii_case(name) && asked_type == name_type
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
