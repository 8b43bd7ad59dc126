//! What is refused, and what ends a session.

use super::{World, strict};

#[tokio::test]
async fn a_ticket_that_is_not_for_this_proxy_is_refused() {
    let script = r#"
# A key that the proxy does not have, and one that it has but not for this service.
for service in ("socks@elsewhere.test", "rcmd@proxy.test"):
    client = Client(PROXY, service=service)
    assert client.greet(1) == 1
    try:
        client.set_up()
        raise AssertionError(service)
    except Refused:
        pass
# Any host of this service does.
for service in ("socks@proxy.test", "socks@localhost"):
    Client(PROXY, service=service).authenticate(2)
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let script = r#"
token = Client(PROXY).context.step()
middle = len(token) // 2
altered = token[:middle] + bytes([token[middle] ^ 1]) + token[middle + 1 :]
for what in (
    message(CONTEXT, b""),                     # which would be SPNEGO
    message(CONTEXT, b"\0"),
    message(CONTEXT, os.urandom(65_535)),
    message(CONTEXT, token[:-1]),              # truncated
    message(CONTEXT, token + b"\0"),
    message(CONTEXT, altered),
    message(CONTEXT, token[:100] + bytes(65_435)),
    message(LEVEL, token),
    message(DATA, token),
    message(0, token),
    b"\1\xff",                                 # the client gives up
    b"\2\1" + message(CONTEXT, token)[2:],
    b"\5\1\0",
):
    for step in (None, 1):
        client = Client(PROXY, step=step)
        assert client.greet(1) == 1
        try:
            client.send(what)
            client.sock.shutdown(socket.SHUT_WR)
            client.read_message(CONTEXT)
            raise AssertionError(what[:8])
        except (Refused, ConnectionResetError, BrokenPipeError):
            pass
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn a_ticket_shown_again_is_refused() {
    let script = r#"
token = Client(PROXY).context.step()
for attempt in range(3):
    client = Client(PROXY)
    assert client.greet(1) == 1
    client.send_message(CONTEXT, token)
    try:
        client.read_message(CONTEXT)
        assert attempt == 0, "let in again"
    except Refused:
        assert attempt > 0, "refused at once"
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn a_ticket_that_has_expired_is_refused() {
    let script = r#"
import time
client = Client(PROXY, cache=short_ticket(5))
token = client.context.step()
time.sleep(7) # The realm forgives a second.
assert client.greet(1) == 1
client.send_message(CONTEXT, token)
try:
    client.read_message(CONTEXT)
    raise AssertionError("let in")
except Refused:
    pass
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn what_the_level_must_not_be_is_refused() {
    let script = r#"
for what in (
    lambda client: message(LEVEL, client.wrap(b"", False)),
    lambda client: message(LEVEL, client.wrap(b"\2\2", False)),
    lambda client: message(LEVEL, b"\2"),                    # as NEC does
    lambda client: message(LEVEL, b""),
    lambda client: message(LEVEL, bytes(65_535)),
    lambda client: message(DATA, client.wrap(b"\2", False)),
    lambda client: message(CONTEXT, client.wrap(b"\2", False)),
    lambda client: b"\1\xff",
):
    client = Client(PROXY)
    assert client.greet(1) == 1
    client.set_up()
    client.send(what(client))
    client.sock.shutdown(socket.SHUT_WR)
    try:
        answer = client.read_message(LEVEL)
        raise AssertionError(answer)
    except Refused:
        pass
# Less than the proxy puts up with is answered with the least; it is the client that
# leaves, and is not heard if it does not.
client = Client(PROXY)
assert client.authenticate(0) == 1
client.send(b"\5\1\0" + address("127.0.0.1", ECHO))
assert client.is_closed()
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn a_stream_that_somebody_meddles_with_ends() {
    let script = r#"
for level in (1, 2):
    def session():
        client = Client(PROXY)
        client.authenticate(level)
        client.connect("127.0.0.1", ECHO)
        client.say(b"first")
        assert client.hear() == b"first"
        return client

    def altered(client):
        token = client.wrap(b"altered")
        return message(DATA, token[:-1] + bytes([token[-1] ^ 1]))

    def replayed(client):
        again = message(DATA, client.wrap(b"again"))
        client.send(again)
        assert client.hear() == b"again"
        return again

    def gap(client):
        client.wrap(b"lost")
        return message(DATA, client.wrap(b"behind a gap"))

    def other_order(client):
        first, second = client.wrap(b"1"), client.wrap(b"2")
        return message(DATA, second) + message(DATA, first)

    def unencrypted(client):
        return message(DATA, client.wrap(b"unencrypted", False))

    meddles = [altered, replayed, gap, other_order]
    if level == 2:
        meddles.append(unencrypted)
    for meddle in (
        *meddles,
        lambda client: message(DATA, b""),
        lambda client: message(DATA, b"\0"),
        lambda client: message(DATA, bytes(65_535)),
        lambda client: message(CONTEXT, client.wrap(b"kind")),
        lambda client: message(0xff, client.wrap(b"kind")),
        lambda client: b"in clear",
    ):
        client = session()
        client.send(meddle(client))
        assert client.is_closed(), meddle
"#;
    World::new(strict()).await.python(script).await;
}
