//! Who may see the page, and who may end a session.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use crate::config::{Config, Token};

/// Nothing comes from elsewhere, goes elsewhere, or is shown within another page.
const POLICY: &str = "default-src 'none'; connect-src 'self'; script-src 'self'; \
     style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

#[derive(Clone)]
pub struct Guard {
    /// Without one, whoever is on this machine may come.
    token: Option<String>,
}

impl Guard {
    pub fn new(config: &Config) -> Result<Self, String> {
        let at = |error| format!("{}: {error}", config.said.at("admin-token"));
        let token = config.admin_token.as_ref().map(Token::reveal);
        let token = token.transpose().map_err(at)?;
        if token.as_ref().is_some_and(String::is_empty) {
            return Err(at("it is empty".to_owned()));
        }
        Ok(Self { token })
    }

    fn check(&self, request: &Request) -> Result<(), StatusCode> {
        let headers = request.headers();
        // A page elsewhere whose name was made to lead here has that name as its host.
        if self.token.is_none() && !is_by_address(headers) {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        }
        if request.method() == Method::POST && !is_from_the_page(headers) {
            return Err(StatusCode::FORBIDDEN);
        }
        let path = request.uri().path();
        let is_private = path.starts_with("/api/") || path == "/metrics";
        if is_private && !self.knows(headers) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok(())
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let given = given.and_then(|given| given.strip_prefix(b"Bearer "));
        given.is_some_and(|given| given.ct_eq(token.as_bytes()).into())
    }
}

/// As `axum::middleware` wants it.
pub async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(status) => status.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_by_address(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = host.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

/// No form sends JSON, and a script of another origin is not let send it; whoever says
/// where it comes from says that it is here.
fn is_from_the_page(headers: &HeaderMap) -> bool {
    let get = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    let origin = get(ORIGIN);
    let host = get(HOST).unwrap_or_default();
    let is_ours = origin.is_none_or(|origin| {
        let origin = origin.strip_prefix(b"http://");
        origin.is_some_and(|origin| origin == host)
    });
    let site = get(HeaderName::from_static("sec-fetch-site"));
    let is_here = site.is_none_or(|site| site == b"same-origin");
    get(CONTENT_TYPE) == Some(b"application/json") && is_ours && is_here
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(token: Option<&str>, request: &[(&str, &str)], what: (&str, &str)) -> u16 {
        let guard = Guard {
            token: token.map(str::to_owned),
        };
        let (method, path) = what;
        let mut builder = Request::builder().method(method).uri(path);
        for (name, value) in request {
            builder = builder.header(*name, *value);
        }
        match guard.check(&builder.body(Body::empty()).unwrap()) {
            Ok(()) => 200,
            Err(status) => status.as_u16(),
        }
    }

    const HERE: (&str, &str) = ("host", "127.0.0.1:9080");
    const STATE: (&str, &str) = ("GET", "/api/state");
    const END: (&str, &str) = ("POST", "/api/sessions/1/end");
    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn without_a_token_it_is_asked_for_by_its_address_alone() {
        for host in [
            "127.0.0.1:9080",
            "[::1]:9080",
            "localhost:9080",
            "LOCALHOST",
        ] {
            assert_eq!(asked(None, &[("host", host)], STATE), 200, "{host}");
        }
        for host in [
            "evil.example:9080",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "",
        ] {
            assert_eq!(asked(None, &[("host", host)], STATE), 421, "{host}");
        }
        assert_eq!(asked(None, &[], STATE), 421);
    }

    #[test]
    fn with_a_token_nobody_sees_data_without_it() {
        let token = Some("secret");
        for (given, status) in [
            ("Bearer secret", 200),
            ("Bearer secre", 401),
            ("Bearer ", 401),
            ("secret", 401),
            ("Basic secret", 401),
        ] {
            for path in ["/api/state", "/metrics"] {
                let headers = [HERE, ("authorization", given)];
                assert_eq!(asked(token, &headers, ("GET", path)), status, "{given}");
            }
        }
        assert_eq!(asked(token, &[HERE], STATE), 401);
        for path in ["/", "/readyz", "/healthz"] {
            assert_eq!(asked(token, &[HERE], ("GET", path)), 200);
        }
    }

    #[test]
    fn no_other_site_ends_a_session() {
        let here = ("origin", "http://127.0.0.1:9080");
        assert_eq!(asked(None, &[HERE, JSON, here], END), 200);
        assert_eq!(asked(None, &[HERE, JSON], END), 200);
        let same = ("sec-fetch-site", "same-origin");
        assert_eq!(asked(None, &[HERE, JSON, here, same], END), 200);
        for evil in [
            &[HERE][..],
            &[HERE, ("content-type", "text/plain"), here],
            &[HERE, JSON, ("origin", "http://evil.example")],
            &[HERE, JSON, ("origin", "null")],
            &[HERE, JSON, ("origin", "http://127.0.0.1:9081")],
            &[HERE, JSON, here, ("sec-fetch-site", "cross-site")],
            &[HERE, JSON, here, ("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(asked(None, evil, END), 403, "{evil:?}");
        }
    }
}
