//! Requests that go no further: a client counts the hops that one may take (RFC 9110
//! section 7.6.2).

use http::{
    HeaderMap, Method, Request, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue, MAX_FORWARDS, PROXY_AUTHORIZATION},
};

/// What is left out of what TRACE shows: it may be told to others than who sent it (RFC
/// 9110 section 9.3.8).
const SECRETS: [http::HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// Counts the hop that a request takes here. None if the count is none.
pub(super) fn goes_on(method: &Method, fields: &mut HeaderMap) -> Option<bool> {
    if !matches!(*method, Method::OPTIONS | Method::TRACE) {
        // As it likes, and others need not understand it.
        return Some(true);
    }
    let mut counts = fields.get_all(MAX_FORWARDS).iter();
    let Some(count) = counts.next() else {
        return Some(true);
    };
    let digits = count.to_str().ok().filter(|_| counts.next().is_none())?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More than anybody counts is as good as the most.
    let count = is_number.then(|| digits.parse().unwrap_or(u64::MAX))?;
    let Some(left) = count.checked_sub(1) else {
        return Some(false);
    };
    fields.insert(MAX_FORWARDS, HeaderValue::from(left));
    Some(true)
}

/// The answer to one that goes no further: to TRACE, what has come; to OPTIONS, that
/// there is nothing to say.
pub(super) fn answer<B>(request: &Request<B>) -> Response<String> {
    if request.method() != Method::TRACE {
        return Response::new(String::new());
    }
    let mut said = format!("TRACE {} {:?}\r\n", request.uri(), request.version());
    for (name, value) in request.headers() {
        if let Ok(value) = value.to_str()
            && !SECRETS.contains(name)
        {
            said.extend([name.as_str(), ": ", value, "\r\n"]);
        }
    }
    said.push_str("\r\n");
    let mut response = Response::new(said);
    let http = HeaderValue::from_static("message/http");
    response.headers_mut().insert(CONTENT_TYPE, http);
    response
}
