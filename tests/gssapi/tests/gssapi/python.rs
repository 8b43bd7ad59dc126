//! python-gssapi as a client that means well.

use socks_tower::Protection;

use super::{World, strict};

#[tokio::test]
async fn each_level_carries_both_ways_whole_and_byte_by_byte() {
    let script = r#"
for step in (None, 1):
    for asked, answered in ((1, 1), (2, 2), (3, 2)):
        client = Client(PROXY, step=step)
        assert client.authenticate(asked) == answered
        client.connect("127.0.0.1", ECHO)
        most = client.context.get_wrap_size_limit(65_535, encrypted=answered == 2)
        for length in (1, 10_000, most):
            text = os.urandom(length)
            client.say(text)
            assert client.hear_all(length) == text
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn a_megabyte_comes_back_at_each_level() {
    let script = r#"
from threading import Thread
for level in (1, 2):
    client = Client(PROXY)
    client.authenticate(level)
    client.connect("127.0.0.1", ECHO)
    text = os.urandom(1 << 20)
    def say():
        for at in range(0, len(text), 50_000):
            client.say(text[at : at + 50_000])
    saying = Thread(target=say)
    saying.start()
    assert client.hear_all(len(text)) == text
    saying.join()
    # The end of one direction is not that of the other.
    client.say(b"last words")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.hear() == b"last words"
    assert client.is_closed()
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn where_messages_end_means_nothing() {
    let script = r#"
for level in (1, 2):
    client = Client(PROXY)
    client.authenticate(level)
    request = b"\5\1\0" + address("127.0.0.1", ECHO)
    # A byte in each, with empty ones between them, and what follows in the last.
    for byte in request[:-1]:
        client.say(bytes([byte]))
        client.say(b"")
    client.say(request[-1:] + b"early")
    assert client.reply()[0] == 0
    assert client.hear_all(5) == b"early"
    client.say(b"")
    # Many messages in one segment.
    client.send(b"".join(message(DATA, client.wrap(b"x")) for _ in range(1000)))
    assert client.hear_all(1000) == b"x" * 1000
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn a_failure_is_wrapped_too() {
    let script = r#"
for level in (1, 2):
    client = Client(PROXY)
    client.authenticate(level)
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    code, _ = client.request(1, "127.0.0.1", port)
    assert code == 5, code
    assert client.is_closed()
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn rules_see_the_principal() {
    let script = r#"
# The rules know joe alone.
cache = os.environ["SOCKS_TESTS_REALM"] + "/jane.ccache"
client = Client(PROXY, cache=cache)
client.authenticate(2)
code, _ = client.request(1, "127.0.0.1", ECHO)
assert code == 2, code
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn necs_bare_octet_is_an_opt_in() {
    let script = r#"
for level in (1, 2):
    client = Client(PROXY)
    assert client.authenticate(level, wrapped=False) == level
    client.connect("127.0.0.1", ECHO)
    client.say(b"wrapped")
    assert client.hear() == b"wrapped"
    # The others go on to be served.
    client = Client(PROXY)
    assert client.authenticate(level) == level
    client.connect("127.0.0.1", ECHO)
"#;
    World::new(strict().allow_nec()).await.python(script).await;
}

#[tokio::test]
async fn level_0_is_an_opt_in_after_which_all_is_in_clear() {
    let script = r#"
def in_clear(client):
    client.send(b"\5\1\0" + address("127.0.0.1", ECHO))
    assert client.read(4) == b"\5\0\0\1"
    client.read(6)
    client.send(b"in clear")
    assert client.read(8) == b"in clear"

client = Client(PROXY)
assert client.authenticate(0) == 0
in_clear(client)
# Who asks for more, gets it.
client = Client(PROXY)
assert client.authenticate(2) == 2
client.connect("127.0.0.1", ECHO)
"#;
    World::new(strict().allow_unprotected())
        .await
        .python(script)
        .await;
    let script = r#"
client = Client(PROXY)
assert client.authenticate(2) == 0
client.send(b"\5\1\0" + address("127.0.0.1", ECHO))
assert client.read(4) == b"\5\0\0\1"
"#;
    World::new(strict().allow_downgrade())
        .await
        .python(script)
        .await;
}

#[tokio::test]
async fn the_least_level_is_answered_to_who_asks_for_less() {
    let script = r#"
for asked in (0, 1):
    client = Client(PROXY)
    assert client.authenticate(asked) == 2
client.connect("127.0.0.1", ECHO)
client.say(b"encrypted")
assert client.hear() == b"encrypted"
"#;
    let confidential = strict().with_least(Protection::Confidentiality);
    World::new(confidential).await.python(script).await;
}

#[tokio::test]
async fn over_tcp_who_does_not_ask_for_sequencing_is_served_by_an_opt_in_alone() {
    let script = r#"
client = Client(PROXY, flags=FLAGS[:2])
client.authenticate(2)
client.say(b"\5\1\0" + address("127.0.0.1", ECHO))
"#;
    let refused = format!("{script}assert client.is_closed()");
    World::new(strict()).await.python(&refused).await;
    let served = format!("{script}assert client.reply()[0] == 0");
    World::new(strict().allow_unsequenced())
        .await
        .python(&served)
        .await;
}

#[tokio::test]
async fn a_client_that_does_not_ask_who_the_proxy_is_is_served() {
    let script = r#"
client = Client(PROXY, flags=FLAGS[1:])
assert client.greet(1) == 1
client.send_message(CONTEXT, client.context.step())
assert client.context.complete
assert client.read_message(CONTEXT) == b""
assert client.ask_level(2) == 2
client.connect("127.0.0.1", ECHO)
"#;
    World::new(strict()).await.python(script).await;
}
