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
use tokio::sync::{Mutex as Turn, mpsc, oneshot};
use tracing::debug;

use super::{
    HttpForwardLayer,
    body::{Download, Opener, Upload},
    fields, here,
    service::{Tunnels, Visit},
    tunnel::{Key, Opening, Tunnel},
    wire::{Asked, Awaited, Desk},
};
use crate::{
    session::{
        BoxError, ClientStream, Error, ErrorKind, Protocol, Requested, Session, Stage, Stream,
        Transfer, timeout,
    },
    stages::http_connect::{
        head::basic,
        service::{CHALLENGE, WANTS_PASSWORD, verify},
        words::{Http, Status},
    },
};

/// How many interim responses may wait to be passed on; more are dropped.
const MAX_INTERIM: usize = 16;

/// How long the tunnel of a request that is answered may take to end before the next.
const SOON: Duration = Duration::from_secs(1);

/// Whoever sends the requests of one connection.
pub(super) struct Client<Io, S> {
    config: HttpForwardLayer,
    session: Session,
    /// Locked to be cloned: no stage need be `Sync`.
    inner: Mutex<S>,
    desk: Desk,
    tunnels: Arc<Tunnels>,
    /// The end of the last request's tunnel. There is one request at a time.
    last: Turn<Option<oneshot::Receiver<()>>>,
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
            last: Turn::new(None),
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
        mut request: Request<Incoming>,
    ) -> Result<Response<Download>, BoxError> {
        let asked = self.desk.lock().asked.take();
        let asked = asked.ok_or("hyper read a head that was not passed to it")?;
        let credentials = request.headers().get(PROXY_AUTHORIZATION).cloned();
        let mut visit = self.visit(&asked);
        if let Err(error) = self.admit(&mut visit.session, credentials.as_ref()).await {
            self.tunnels.end(visit, Err(error));
            return Ok(self.unauthorized());
        }
        let method = request.method().clone();
        match here::goes_on(&method, request.headers_mut()) {
            Some(true) => {}
            Some(false) => {
                self.tunnels.end(visit, Ok(Transfer::default()));
                return Ok(self.ours(here::answer(&request)));
            }
            None => {
                let error = Error::new(ErrorKind::Protocol, "Max-Forwards is no number");
                self.tunnels.end(visit, Err(error));
                return Ok(self.malformed("Max-Forwards is no number."));
            }
        }
        let key = Key {
            target: asked.target.clone(),
            credentials,
            identity: visit.session.identity.clone(),
        };
        match self.prepare(request, &asked) {
            Some((request, terms)) => self.forward(request, terms, visit, asked, key).await,
            None => {
                let error = Error::new(ErrorKind::Protocol, "hyper can make no request of it");
                self.tunnels.end(visit, Err(error));
                Ok(self.malformed("The URL is malformed."))
            }
        }
    }

    fn visit(&self, asked: &Asked) -> Visit {
        let client = self.session.clone().with_protocol(asked.protocol);
        self.tunnels.visit(&client)
    }

    /// Lets the client in, if it may send a request.
    async fn admit(
        &self,
        session: &mut Session,
        credentials: Option<&HeaderValue>,
    ) -> Result<(), Error> {
        let http = &self.config.http;
        let credentials = credentials.and_then(|value| basic(value.as_bytes()));
        let admitted = timeout(http.timeout, verify(http, session, credentials)).await;
        let admitted = admitted.map_err(|elapsed| Error::new(ErrorKind::Deadline, elapsed))?;
        let (admitted, method) = admitted?;
        // Nothing here goes on as another stream: each tunnel has one of its own.
        let _wrap = admitted.admit(method.into(), session);
        Ok(())
    }

    fn unauthorized(&self) -> Response<Download> {
        let mut response = Status::PROXY_AUTHENTICATION_REQUIRED.response(WANTS_PASSWORD);
        let challenge = HeaderValue::from_static(CHALLENGE);
        response.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
        self.ours(response)
    }

    fn malformed(&self, text: &str) -> Response<Download> {
        let mut response = Status::BAD_REQUEST.response(text);
        response.headers_mut().insert(CONNECTION, CLOSE);
        self.ours(response)
    }

    /// A response of our own.
    fn ours(&self, mut response: Response<String>) -> Response<Download> {
        if self.desk.lock().is_last {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        response.map(|text| Download::ours(text, &self.desk))
    }

    /// None if hyper can make no request of it.
    fn prepare(
        &self,
        request: Request<Incoming>,
        asked: &Asked,
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
        visit: Visit,
        asked: Asked,
        key: Key,
    ) -> Result<Response<Download>, BoxError> {
        let mut last = self.last.lock().await;
        let mut tunnel = self.open(&mut last, visit, key.clone(), &terms).await?;
        let again = copy_of(&request);
        let mut sent = send(&mut tunnel, request, &mut terms, &self.desk).await;
        // A connection that was used again may have ended just now.
        let again = match &mut sent {
            Sent::Unsent(request) => request.take(),
            Sent::Failed(_) if !tunnel.expected.has_heard() => again,
            _ => None,
        };
        if let Some(request) = again.filter(|_| tunnel.lease.is_again()) {
            let mut visit = self.visit(&asked);
            if let Err(error) = self
                .admit(&mut visit.session, key.credentials.as_ref())
                .await
            {
                self.tunnels.end(visit, Err(error));
                return Ok(self.unauthorized());
            }
            tunnel = self.open(&mut last, visit, key, &terms).await?;
            sent = send(&mut tunnel, request, &mut terms, &self.desk).await;
        }
        match sent {
            Sent::Answer(response) => Ok(self.pass(response, tunnel, terms)),
            Sent::Refused(response) => Ok(self.ours(response)),
            Sent::Unsent(_) => Ok(self.ours(no_answer())),
            Sent::Failed(error) => self.failed(error),
        }
    }

    /// Opens the tunnel of a request, once that of the last one is over.
    async fn open(
        &self,
        last: &mut Option<oneshot::Receiver<()>>,
        visit: Visit,
        key: Key,
        terms: &Terms,
    ) -> Result<Tunnel, BoxError> {
        if let Some(over) = last.take() {
            let _ = timeout(SOON, over).await;
        }
        let session = visit.session.clone();
        let opening = Opening {
            words: Http::new(self.config.http.respond.as_ref(), &session),
            hook: self.config.http.hook.clone(),
            session,
            target: key.target.clone(),
            awaited: terms.awaited,
            idle: self.tunnels.take_idle(&key),
        };
        let inner = self.inner.lock();
        let inner = inner.unwrap_or_else(PoisonError::into_inner).clone();
        let (tunnel, running) = match opening.open(inner).await {
            Ok(opened) => opened,
            Err(error) => {
                let said = error.to_string();
                self.tunnels.end(visit, Err(error));
                return Err(said.into());
            }
        };
        *last = Some(self.tunnels.run(visit, key, running));
        Ok(tunnel)
    }

    /// Passes an origin's answer on.
    fn pass(
        &self,
        response: Response<Incoming>,
        tunnel: Tunnel,
        terms: Terms,
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
        if self.desk.lock().is_last {
            head.headers.insert(CONNECTION, CLOSE);
        }
        let mut body = Download::of(body, &self.desk);
        // It has not been told to send its body, and may or may not.
        if terms.opener.is_some_and(|opener| !opener.is_closed()) {
            head.headers.insert(CONNECTION, CLOSE);
            // Its origin waits for that in vain.
            body = body.telling(tunnel.leaver);
        }
        Response::from_parts(head, body)
    }

    fn failed(&self, error: hyper::Error) -> Result<Response<Download>, BoxError> {
        debug!(
            error = &error as &dyn std::error::Error,
            "an origin did not answer"
        );
        // The body that it was sent made no sense, or broke off.
        let wrong = self.desk.lock().wrong.take();
        if let Some(wrong) = wrong {
            let mut response = Status::BAD_REQUEST.response(&format!("{wrong}."));
            response.headers_mut().insert(CONNECTION, CLOSE);
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
    // Nothing is said in vain, and by then it is known what connection it is.
    if let Ok(refusal) = (&mut tunnel.refusal).await {
        return Sent::Refused(refusal);
    }
    if !terms.awaited.may_switch && !tunnel.lease.is_leased() {
        // There will be no next one.
        request.headers_mut().append(CONNECTION, CLOSE);
    }
    let (tell, mut told) = mpsc::channel(MAX_INTERIM);
    on_informational(&mut request, move |interim| {
        // More than a client would wait for.
        let _ = tell.try_send((interim.status(), interim.headers().clone()));
    });
    let mut sending = pin!(tunnel.sender.try_send_request(request));
    loop {
        tokio::select! {
            biased;
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
