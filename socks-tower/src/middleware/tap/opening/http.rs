//! The host that a request of HTTP/1 is for.

use socks_core::Host;

use super::Stop;

/// No method is longer.
const LONGEST_METHOD: usize = 32;

/// The host of the request at the front of `bytes`.
pub(super) fn host(bytes: &[u8]) -> Result<Option<Host>, Stop> {
    let mut lines = Lines(bytes);
    let line = loop {
        match lines.next() {
            // RFC 9112 section 2.2: some send an empty line first.
            Ok(b"") => {}
            Ok(line) => break line,
            Err(rest) => return Err(begins(rest)),
        }
    };
    let target = target(line).ok_or(Stop::Other)?;
    if let Some((_, absolute)) = target.split_once("://") {
        let authority = absolute.split(['/', '?', '#']).next().unwrap_or_default();
        return Ok(authority_host(authority));
    }
    loop {
        match lines.next() {
            Ok(b"") => return Ok(None),
            Ok(line) => {
                let (name, value) = field(line).ok_or(Stop::Other)?;
                if name.eq_ignore_ascii_case(b"host") {
                    let value = str::from_utf8(value).unwrap_or_default();
                    return Ok(authority_host(value.trim_matches([' ', '\t'])));
                }
            }
            Err(_) => return Err(Stop::More),
        }
    }
}

/// Lines that are whole, without their end.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// The next; what there is of it if it is not whole.
    fn next(&mut self) -> Result<&'a [u8], &'a [u8]> {
        let end = self
            .0
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or(self.0)?;
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// What to make of the beginning of a first line.
fn begins(line: &[u8]) -> Stop {
    let method = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    let is_method = method.iter().all(|&byte| is_token(byte)) && method.len() <= LONGEST_METHOD;
    // The end of an empty line.
    match is_method || line == b"\r" {
        true => Stop::More,
        false => Stop::Other,
    }
}

/// The target of a request line: `GET /index.html HTTP/1.1`.
fn target(line: &[u8]) -> Option<&str> {
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_method = !method.is_empty() && method.len() <= LONGEST_METHOD;
    let is_request = is_method
        && method.bytes().all(is_token)
        && !target.is_empty()
        && matches!(version, "HTTP/1.0" | "HTTP/1.1")
        && words.next().is_none();
    is_request.then_some(target)
}

/// A line's name and value.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = line.split_at(colon);
    let is_name = !name.is_empty() && name.iter().all(|&byte| is_token(byte));
    is_name.then_some((name, value.get(1..)?))
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The host in an authority (RFC 3986 section 3.2).
fn authority_host(authority: &str) -> Option<Host> {
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let host = match host.split_once(']') {
        Some((address, _)) => address.strip_prefix('[')?,
        None => host.split(':').next().unwrap_or_default(),
    };
    Host::parse(host).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Opening, tests::of};

    fn http(host: Option<&str>) -> Option<Opening> {
        let host = host.map(|host| host.parse().unwrap());
        Some(Opening::Http { host })
    }

    #[test]
    fn the_host_is_found_wherever_the_bytes_are_split() {
        for (request, host) in [
            ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example"),
            (
                "GET / HTTP/1.0\nuser-agent: x\nhOST:a.example:8080 \n\n",
                "a.example",
            ),
            (
                "\r\nPOST /x?y HTTP/1.1\r\nHost: 192.0.2.1:80\r\n",
                "192.0.2.1",
            ),
            (
                "M-SEARCH * HTTP/1.1\r\nHost:\t[2001:db8::1]:80\r\n",
                "2001:db8::1",
            ),
            // RFC 9112 section 3.2.2: the target goes before the field.
            (
                "GET http://joe@a.example:80/?q HTTP/1.1\r\nHost: b\r\n",
                "a.example",
            ),
            ("GET http://a.example HTTP/1.1\r\n", "a.example"),
        ] {
            assert_eq!(of(request.as_bytes()), http(Some(host)), "{request}");
        }
    }

    #[test]
    fn a_request_without_a_host_or_with_what_is_none_has_none() {
        for request in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: two words\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a]b[c\r\n\r\n",
            "GET http:/// HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(of(request.as_bytes()), http(None), "{request}");
        }
        assert_eq!(of(b"GET / HTTP/1.1\r\nHost: \xff\r\n"), http(None));
    }

    #[test]
    fn what_servers_disagree_about_is_something_else() {
        for request in [
            "GET / HTTP/1.1\r\nHost : a.example\r\n",
            "GET / HTTP/1.1\r\nx: y\r\n Host: a.example\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET /\r\n",
            "GET / HTTP/3\r\n",
            "GET / a HTTP/1.1\r\n",
        ] {
            assert_eq!(of(request.as_bytes()), Some(Opening::Other), "{request}");
        }
    }
}
