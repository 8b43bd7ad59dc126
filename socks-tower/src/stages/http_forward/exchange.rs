//! A request, and what answers it.

use std::{
    marker::PhantomData,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version,
    header::{
        CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
    },
};
use hyper::{
    body::{Body, Incoming},
    ext::on_informational,
};
use socks_core::v5::Command;
use tokio::sync::{Mutex as Turn, mpsc};
use tracing::debug;

use super::{
    HttpForwardLayer,
    body::{Download, Opener, Upload},
    fields,
    service::Tunnels,
    tunnel::{Key, Opening, Tunnel},
    wire::{Asked, Awaited, Desk},
};
use crate::{
    session::{
        BoxError, ClientStream, Error, ErrorKind, Protocol, Request as Wanted, Requested, Session,
        Stage, Stream, Transfer, timeout,
    },
    stages::http_connect::{
        head::basic,
        service::{CHALLENGE, WANTS_PASSWORD, verify},
        words::{Http, Status},
    },
};

/// How many interim responses may wait to be passed on; more are dropped.
const MAX_INTERIM: usize = 16;

/// How long a tunnel that was used may take to be ready again.
const SOON: Duration = Duration::from_secs(1);

/// Whoever sends the requests of one connection.
pub(super) struct Client<Io, S> {
    config: HttpForwardLayer,
    session: Session,
    /// Locked to be cloned: no stage need be `Sync`.
    inner: Mutex<S>,
    desk: Desk,
    tunnels: Arc<Tunnels>,
    /// The tunnel that was used last. There is one request at a time.
    kept: Turn<Option<Tunnel>>,
    io: PhantomData<fn(Io)>,
}

/// How a request is to be sent.
struct Terms {
    /// The client waits to be told that the origin wants the body.
    opener: Option<Opener>,
    awaited: Awaited,
    is_11: bool,
}

/// What came of sending it.
enum Sent {
    Answer(Response<Incoming>),
    /// The tunnel was refused.
    Refused(Response<String>),
    /// Nothing of it was sent: here it is.
    Unsent(Option<Request<Upload>>),
    Failed(hyper::Error),
}

impl<Io, S> Client<Io, S>
where
    Io: Stream,
    S: Stage<Requested<ClientStream<Io>>, Response = Transfer>,
{
    pub(super) fn new(
        config: HttpForwardLayer,
        session: Session,
        inner: S,
        desk: &Desk,
        tunnels: &Arc<Tunnels>,
    ) -> Self {
        Self {
            config,
            session,
            inner: Mutex::new(inner),
            desk: desk.clone(),
            tunnels: Arc::clone(tunnels),
            kept: Turn::new(None),
            io: PhantomData,
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// If the connection is to be closed without an answer.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Download>, BoxError> {
        let asked = self.desk.lock().asked.take();
        let asked = asked.ok_or("hyper read a head that was not passed to it")?;
        let credentials = request.headers().get(PROXY_AUTHORIZATION).cloned();
        let session = match self.admit(&asked, credentials.as_ref()).await {
            Ok(session) => session,
            Err(error) => return Ok(self.unauthorized(error)),
        };
        let key = Key {
            target: asked.target.clone(),
            credentials,
            identity: session.identity.clone(),
        };
        match self.prepare(request, asked) {
            Some((request, terms)) => self.forward(request, terms, session, key).await,
            None => Ok(self.ours(Status::BAD_REQUEST.response("The URL is malformed."))),
        }
    }

    /// The session of a request, if its client may send any.
    async fn admit(
        &self,
        asked: &Asked,
        credentials: Option<&HeaderValue>,
    ) -> Result<Session, Error> {
        let http = &self.config.http;
        let mut session = self.session.clone().with_protocol(asked.protocol);
        let credentials = credentials.and_then(|value| basic(value.as_bytes()));
        let admitted = timeout(http.timeout, verify(http, &session, credentials)).await;
        let admitted = admitted.map_err(|elapsed| Error::new(ErrorKind::Deadline, elapsed))?;
        let (admitted, method) = admitted?;
        // Nothing here goes on as another stream: each tunnel has one of its own.
        let _wrap = admitted.admit(method.into(), &mut session);
        Ok(session)
    }

    fn unauthorized(&self, error: Error) -> Response<Download> {
        self.tunnels.fail(error);
        let mut response = Status::PROXY_AUTHENTICATION_REQUIRED.response(WANTS_PASSWORD);
        let challenge = HeaderValue::from_static(CHALLENGE);
        response.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
        self.ours(response)
    }

    /// A response of our own.
    fn ours(&self, response: Response<String>) -> Response<Download> {
        response.map(|text| Download::ours(text, &self.desk))
    }

    /// None if hyper can make no request of it.
    fn prepare(
        &self,
        request: Request<Incoming>,
        asked: Asked,
    ) -> Option<(Request<Upload>, Terms)> {
        let (mut head, body) = request.into_parts();
        let is_11 = asked.protocol == Protocol::Http11;
        let has_body = !body.is_end_stream();
        let fields = &mut head.headers;
        let upgrade = fields::of_request(fields, has_body);
        if has_body && body.size_hint().exact().is_none() {
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        fields.insert(HOST, HeaderValue::from_str(&asked.host).ok()?);
        if let Some(name) = &self.config.via {
            fields::add_via(fields, !is_11, name);
        }
        if let Some(addr) = self
            .session
            .client_addr
            .filter(|_| self.config.forwarded_for)
        {
            let name = HeaderName::from_static("x-forwarded-for");
            fields::add(fields, name, &addr.ip().to_string());
        }
        if self.config.judge.is_none() && upgrade.is_none() {
            // There will be no next one.
            fields.append(CONNECTION, HeaderValue::from_static("close"));
        }
        head.uri = asked.path.parse().ok()?;
        head.version = Version::HTTP_11;
        let waits = is_11 && fields.get(EXPECT).is_some_and(is_continue);
        let (body, opener) = match has_body {
            true if waits => {
                let (body, opener) = Upload::later(body);
                (body, Some(opener))
            }
            true => (Upload::now(body), None),
            false => (Upload::none(), None),
        };
        let awaited = Awaited {
            is_head: head.method == http::Method::HEAD,
            may_switch: upgrade.is_some(),
        };
        let terms = Terms {
            opener,
            awaited,
            is_11,
        };
        Some((Request::from_parts(head, body), terms))
    }

    async fn forward(
        &self,
        request: Request<Upload>,
        mut terms: Terms,
        session: Session,
        key: Key,
    ) -> Result<Response<Download>, BoxError> {
        let mut kept = self.kept.lock().await;
        let last = kept.take().filter(|tunnel| tunnel.key == key);
        let mut tunnel = match self.go_on(last, &session).await {
            Some(tunnel) => tunnel,
            None => self.open(session.clone(), key).await?,
        };
        let again = copy_of(&request).filter(|_| !tunnel.is_new);
        let mut sent = send(&mut tunnel, request, &mut terms, &self.desk).await;
        // One that was kept may have ended just now.
        let again = match &mut sent {
            Sent::Unsent(request) if !tunnel.is_new => request.take(),
            Sent::Failed(_) if !tunnel.expected.has_heard() => again,
            _ => None,
        };
        if let Some(request) = again {
            tunnel = self.open(session, tunnel.key).await?;
            sent = send(&mut tunnel, request, &mut terms, &self.desk).await;
        }
        match sent {
            Sent::Answer(response) => Ok(self.pass(response, tunnel, terms, &mut kept)),
            Sent::Refused(response) => Ok(self.ours(response)),
            Sent::Unsent(_) => Ok(self.ours(no_answer())),
            Sent::Failed(error) => self.failed(error),
        }
    }

    /// A tunnel that was kept, if it may be used again. If not, a new one hears from
    /// all who might forbid it why.
    async fn go_on(&self, last: Option<Tunnel>, session: &Session) -> Option<Tunnel> {
        let (mut tunnel, judge) = last.zip(self.config.judge.as_ref())?;
        timeout(SOON, tunnel.sender.ready()).await.ok()?.ok()?;
        let request = Wanted::new(session.clone(), Command::CONNECT, tunnel.key.target.clone());
        let judged = timeout(self.config.http.timeout, judge(request.for_work())).await;
        let permitted = judged.ok()?.ok()?.target;
        tunnel.peer.is_one_of(permitted.addrs()).then_some(tunnel)
    }

    async fn open(&self, session: Session, key: Key) -> Result<Tunnel, BoxError> {
        let is_first = self.tunnels.is_first();
        let (session, watchers) = match is_first {
            true => (session, Vec::new()),
            false => session.again(),
        };
        let opening = Opening {
            words: Http::new(self.config.http.respond.as_ref(), &session),
            hook: self.config.http.hook.clone(),
            is_kept: self.config.judge.is_some(),
            session,
            watchers,
            key,
        };
        let inner = self
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let (tunnel, running) = opening.open(inner).await?;
        self.tunnels.run(running, is_first);
        Ok(tunnel)
    }

    /// Passes an origin's answer on.
    fn pass(
        &self,
        response: Response<Incoming>,
        mut tunnel: Tunnel,
        terms: Terms,
        kept: &mut Option<Tunnel>,
    ) -> Response<Download> {
        let (mut head, body) = response.into_parts();
        let is_10 = head.version == Version::HTTP_10;
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        fields::of_response(&mut head.headers, switches);
        head.version = Version::HTTP_11;
        if let Some(name) = &self.config.via {
            fields::add_via(&mut head.headers, is_10, name);
        }
        if switches {
            self.tunnels.switches(tunnel.switched);
            return Response::from_parts(head, Download::switched());
        }
        // It has not been told to send its body, and may or may not.
        if terms.opener.is_some_and(|opener| !opener.is_closed()) {
            head.headers.insert(CONNECTION, CLOSE);
        } else if self.config.judge.is_some() {
            tunnel.is_new = false;
            *kept = Some(tunnel);
        }
        Response::from_parts(head, Download::of(body, &self.desk))
    }

    fn failed(&self, error: hyper::Error) -> Result<Response<Download>, BoxError> {
        debug!(
            error = &error as &dyn std::error::Error,
            "an origin did not answer"
        );
        // The body that it was sent made no sense, or broke off.
        if let Some(wrong) = self.desk.lock().wrong.take() {
            let mut response = Status::BAD_REQUEST.response(&format!("{wrong}."));
            response.headers_mut().insert(CONNECTION, CLOSE);
            self.tunnels.fail(Error::new(ErrorKind::Protocol, wrong));
            return Ok(self.ours(response));
        }
        match error.is_user() {
            true => Err(error.into()),
            false => Ok(self.ours(no_answer())),
        }
    }
}

pub(super) const NO_ANSWER: &str = "The target hung up, or does not answer in HTTP.";

const CLOSE: HeaderValue = HeaderValue::from_static("close");

fn no_answer() -> Response<String> {
    Status::BAD_GATEWAY.response(NO_ANSWER)
}

/// What may be sent a second time: it has no body, and does no harm twice (RFC 9110
/// section 9.2.2).
fn copy_of(request: &Request<Upload>) -> Option<Request<Upload>> {
    let may = request.method().is_idempotent() && request.body().is_end_stream();
    let mut copy = may.then(|| Request::new(Upload::none()))?;
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

async fn send(
    tunnel: &mut Tunnel,
    mut request: Request<Upload>,
    terms: &mut Terms,
    desk: &Desk,
) -> Sent {
    let (tell, mut told) = mpsc::channel(MAX_INTERIM);
    on_informational(&mut request, move |interim| {
        // More than a client would wait for.
        let _ = tell.try_send((interim.status(), interim.headers().clone()));
    });
    tunnel.expected.set(terms.awaited);
    let mut sending = pin!(tunnel.sender.try_send_request(request));
    let mut is_undecided = tunnel.is_new;
    loop {
        tokio::select! {
            biased;
            refusal = &mut tunnel.refusal, if is_undecided => match refusal {
                Ok(response) => return Sent::Refused(response),
                Err(_granted) => is_undecided = false,
            },
            Some((status, fields)) = told.recv() => {
                if status != StatusCode::CONTINUE {
                    interim(status, fields, terms, desk);
                } else if let Some(opener) = terms.opener.take() {
                    // hyper tells the client so once it reads its body.
                    let _ = opener.send(());
                }
            }
            answer = &mut sending => return match answer {
                Ok(response) => Sent::Answer(response),
                Err(mut error) => match error.take_message() {
                    Some(request) => Sent::Unsent(Some(request)),
                    None => Sent::Failed(error.into_error()),
                },
            },
        }
    }
}

/// Passes an interim response on (RFC 9110 section 15.2): hyper has no words for one.
fn interim(status: StatusCode, mut fields: HeaderMap, terms: &Terms, desk: &Desk) {
    if !terms.is_11 {
        return;
    }
    fields::of_response(&mut fields, false);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut said = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &fields {
        said.extend_from_slice(name.as_str().as_bytes());
        said.extend_from_slice(b": ");
        said.extend_from_slice(value.as_bytes());
        said.extend_from_slice(b"\r\n");
    }
    said.extend_from_slice(b"\r\n");
    desk.say(&said);
}

fn is_continue(expected: &HeaderValue) -> bool {
    expected.as_bytes().eq_ignore_ascii_case(b"100-continue")
}
