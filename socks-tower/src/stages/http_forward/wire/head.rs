//! The heads of requests and responses, read strictly: there is one reading of where
//! a message ends, or it is refused (RFC 9112 section 6.3).

use httparse::{EMPTY_HEADER, Header};
use socks_core::Target;

use super::Wrong;
use crate::{session::Protocol, stages::http_connect::head::is_http};

/// The most fields of a head.
const MAX_FIELDS: usize = 100;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Body {
    None,
    Length(u64),
    Chunked,
    /// All that comes, to the end of the stream.
    Rest,
    /// Another protocol.
    Switched,
}

/// Looks for the end of a head that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// How much has been looked at.
    seen: usize,
    line: usize,
}

impl Lines {
    /// How long the head at the front of `input` is, which only grows from call to
    /// call. Its lines end in CR LF, and none goes on in the next.
    pub(super) fn end(&mut self, input: &[u8]) -> Result<Option<usize>, Wrong> {
        while let Some(&byte) = input.get(self.seen) {
            let before = self.seen.checked_sub(1).and_then(|at| input.get(at));
            let at_start = self.seen == self.line;
            match (before, byte) {
                (Some(b'\r'), b'\n') => {
                    let is_empty = self.seen == self.line + 1;
                    self.seen += 1;
                    self.line = self.seen;
                    if is_empty {
                        return Ok(Some(self.seen));
                    }
                    continue;
                }
                (Some(b'\r'), _) | (_, b'\n' | 0) => return Err(Wrong::Line),
                (_, b' ' | b'\t') if at_start => return Err(Wrong::Line),
                _ => {}
            }
            self.seen += 1;
        }
        Ok(None)
    }
}

/// What a request says, as far as hyper does not.
#[derive(Debug)]
pub(in super::super) struct Asked {
    pub(in super::super) target: Target,
    /// As the URL has it, for `Host`.
    pub(in super::super) host: String,
    /// What is asked of the target.
    pub(in super::super) path: String,
    pub(in super::super) protocol: Protocol,
}

/// Reads the head of a request, which is whole.
pub(super) fn request(head: &[u8]) -> Result<(Asked, Body), Wrong> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head).map_err(Wrong::Malformed)?;
    let is_11 = request.version == Some(1);
    let body = match framing(request.headers, is_11)? {
        Body::Rest => Body::None,
        body => body,
    };
    let hosts = named(request.headers, "host").count();
    if hosts > 1 || is_11 && hosts == 0 {
        return Err(Wrong::Host);
    }
    if named(request.headers, "proxy-authorization").count() > 1 {
        return Err(Wrong::TwoAuthorizations);
    }
    let method = request.method.unwrap_or_default();
    let (host, path) = parts(request.path.unwrap_or_default())?;
    let path = match path {
        "" if method == "OPTIONS" => "*".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    let asked = Asked {
        target: target(host)?,
        host: host.to_owned(),
        path,
        protocol: if is_11 {
            Protocol::Http11
        } else {
            Protocol::Http10
        },
    };
    Ok((asked, body))
}

/// Whether this may begin a request.
pub(super) fn may_begin_request(first: u8) -> Result<(), Wrong> {
    match first {
        first if is_http(first) => Ok(()),
        first => Err(Wrong::NotHttp(first)),
    }
}

/// Host and port of a URL, and what follows them.
fn parts(url: &str) -> Result<(&str, &str), Wrong> {
    const SCHEME: &str = "http://";
    let scheme = url.get(..SCHEME.len());
    let is_http = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let rest = url.get(SCHEME.len()..).filter(|_| is_http);
    let rest = rest.ok_or(Wrong::NoUrl)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if host.contains('@') {
        return Err(Wrong::UserInfo);
    }
    if path.contains('#') {
        return Err(Wrong::Fragment);
    }
    Ok((host, path))
}

/// The port is 80 unless it is there.
fn target(host: &str) -> Result<Target, Wrong> {
    let has_port = host.rfind(':') > host.rfind(']');
    let target = match has_port {
        true => host.parse(),
        false => format!("{host}:80").parse(),
    };
    target.map_err(Wrong::Target)
}

/// What was asked by the request that a response answers.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Awaited {
    pub(in super::super) is_head: bool,
    pub(in super::super) may_switch: bool,
}

/// Reads the head of a response, which is whole; `follows` says whether more has come
/// with it. No body if another one follows: it is interim. And whether the origin takes
/// another request on the same connection (RFC 9112 section 9.3); one that speaks
/// HTTP/1.0 is not believed to.
pub(super) fn response(
    head: &[u8],
    awaited: Awaited,
    follows: bool,
) -> Result<(Option<Body>, bool), Wrong> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(head).map_err(Wrong::Malformed)?;
    let is_11 = response.version == Some(1);
    let framing = framing(response.headers, is_11)?;
    let code = response.code.unwrap_or_default();
    let body = match code {
        101 if awaited.may_switch => return Ok((Some(Body::Switched), false)),
        // No framing may be there (RFC 9112 section 6.3), but a length of 0 often is.
        100 | 102..200 | 204 if matches!(framing, Body::Rest | Body::Length(0)) => Body::None,
        ..200 | 204 => return Err(Wrong::Framing),
        304 => Body::None,
        _ if awaited.is_head => Body::None,
        _ => framing,
    };
    if code < 200 {
        return Ok((None, true));
    }
    if body == Body::None && follows {
        return Err(Wrong::Behind);
    }
    let closes = named(response.headers, "connection").any(|value| {
        let mut words = value.split(|&byte| byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    });
    Ok((Some(body), is_11 && !closes && body != Body::Rest))
}

/// How the body ends; `Rest` if nothing says so.
fn framing(fields: &[Header<'_>], is_11: bool) -> Result<Body, Wrong> {
    let mut codings = named(fields, "transfer-encoding");
    let mut lengths = named(fields, "content-length");
    let (coding, length) = (codings.next(), lengths.next());
    if codings.next().is_some() || lengths.next().is_some() {
        return Err(Wrong::Framing);
    }
    match (coding, length) {
        (None, None) => Ok(Body::Rest),
        (None, Some(length)) => length_of(length).map(Body::Length).ok_or(Wrong::Framing),
        (Some(coding), None) if is_11 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Body::Chunked)
        }
        (Some(_), _) => Err(Wrong::Framing),
    }
}

/// Digits alone, of which 18 fit in any reader's integer.
fn length_of(value: &[u8]) -> Option<u64> {
    const MAX_DIGITS: usize = 18;
    let is_number = (1..=MAX_DIGITS).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

fn named<'a>(fields: &'a [Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let named = fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
}
