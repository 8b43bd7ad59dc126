//! The verifier: a POST for each attempt.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, body::Bytes, header::CONTENT_TYPE};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use socks_tower::{Attempt, BoxError, Identity, WrongCredentials};
use tower::Service;

/// Is told who wants to come, and says yes (200 or 204) or no (401 or 403).
#[derive(Clone)]
pub struct Endpoint {
    uri: Uri,
    /// Its clones share the connections, which are kept open.
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Endpoint {
    pub fn new(uri: Uri) -> io::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { uri, client })
    }

    async fn ask(self, attempt: Attempt) -> Result<Identity, BoxError> {
        let credentials = &attempt.credentials;
        let name = credentials.username.to_str();
        let password = std::str::from_utf8(credentials.password.as_bytes());
        // What JSON cannot say is nobody's.
        let (Some(name), Ok(password)) = (name, password) else {
            return Err(WrongCredentials::new().into());
        };
        let question = json!({
            "username": name,
            "password": password,
            "client": attempt.session.client_addr.map(|addr| addr.ip()),
        });
        let request = Request::post(self.uri)
            .header(CONTENT_TYPE, "application/json")
            .body(question.to_string().into())?;
        // All that is neither a yes nor a no is the endpoint's trouble, and said so.
        let answer = self.client.request(request).await;
        match answer.map_err(io::Error::other)?.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(Identity::new(name)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(WrongCredentials::new().into()),
            other => Err(io::Error::other(format!("the endpoint says {other}")).into()),
        }
    }
}

impl Service<Attempt> for Endpoint {
    type Response = Identity;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Identity, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().ask(attempt))
    }
}
