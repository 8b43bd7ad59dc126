//! The fields that a message leaves behind here, and those that it is given.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST,
        PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
    },
};

/// About this connection, and not about the message (RFC 9110 section 7.6.1), whether
/// or not `Connection` says so.
const OF_A_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
];

/// Says how its message is read, so that it may not come behind it (RFC 9110 section
/// 6.5.1).
const NOT_IN_TRAILERS: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HOST,
    TRAILER,
];

/// Takes out of a request what is meant for us.
///
/// What the client may be switched to (RFC 9110 section 7.8) stays, if the request has
/// no body and it is not h2c: nobody here speaks that.
pub(super) fn of_request(fields: &mut HeaderMap, has_body: bool) -> Option<HeaderValue> {
    let asks = names(fields, &CONNECTION, "upgrade") && !has_body;
    let upgrade = fields.get(UPGRADE).cloned().filter(|_| asks);
    let upgrade = upgrade.filter(|_| !names(fields, &UPGRADE, "h2c"));
    let wants_trailers = names(fields, &TE, "trailers");
    strip(fields);
    if let Some(upgrade) = &upgrade {
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, upgrade.clone());
    }
    if wants_trailers {
        fields.append(CONNECTION, HeaderValue::from_static("te"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// Takes out of a response what the origin said to us. What it switches to stays.
pub(super) fn of_response(fields: &mut HeaderMap, switches: bool) {
    let upgrade = fields.get(UPGRADE).cloned().filter(|_| switches);
    strip(fields);
    if let Some(upgrade) = upgrade {
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, upgrade);
    }
}

/// Takes out of trailers what may not stand there.
pub(super) fn of_trailers(fields: &mut HeaderMap) {
    strip(fields);
    for name in NOT_IN_TRAILERS {
        fields.remove(name);
    }
}

/// Adds to a list, of fields or in one.
pub(super) fn add(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.append(name, value);
    }
}

/// Says that the message came by here (RFC 9110 section 7.6.3).
pub(super) fn add_via(fields: &mut HeaderMap, is_10: bool, name: &str) {
    let version = if is_10 { "1.0" } else { "1.1" };
    add(fields, VIA, &format!("{version} {name}"));
}

fn strip(fields: &mut HeaderMap) {
    let named = fields.get_all(CONNECTION).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(','));
    let named: Vec<_> = named.filter_map(|name| name.trim().parse().ok()).collect();
    for name in named.into_iter().chain(OF_A_HOP) {
        let _: Option<HeaderValue> = fields.remove::<HeaderName>(name);
    }
}

/// Whether `what` is in the list that a field is.
fn names(fields: &HeaderMap, field: &HeaderName, what: &str) -> bool {
    let values = fields.get_all(field).iter();
    let mut values = values.filter_map(|value| value.to_str().ok());
    values.any(|value| {
        let mut words = value.split(',').map(str::trim);
        words.any(|word| word.eq_ignore_ascii_case(what))
    })
}
