//! How long sessions last, and how they end.

use std::time::Duration;

use socks_tests::{
    origin::{Origin, V4},
    patiently,
};
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::{World, strict};

#[tokio::test]
async fn silence_and_a_trickle_within_a_context_are_cut_at_the_deadline() {
    let script = r#"
import time
whole = b"\5\1\1" + message(CONTEXT, Client(PROXY).context.step())
clients = []
for sent in (0, 3, 4, 6, 7, 100, len(whole) - 1):
    client = Client(PROXY)
    client.send(whole[:sent])
    clients.append(client)
client = Client(PROXY)
assert client.greet(1) == 1
client.set_up()
clients.append(client)
for client in clients:
    # Whether it is told that it is refused, depends on where it stopped.
    heard = client.read_to_the_end()
    assert heard in (b"", b"\5\1", b"\5\1\1\xff", b"\1\xff"), heard
# A byte now and then does not put it off.
client = Client(PROXY)
try:
    for byte in whole:
        client.send(bytes([byte]))
        time.sleep(0.02)
    raise AssertionError("all taken")
except OSError:
    pass
"#;
    let world = World::with_timeout(strict(), Duration::from_secs(3)).await;
    world.python(script).await;
}

#[tokio::test]
async fn two_hundred_half_done_contexts_starve_nobody() {
    let script = r#"
stuck = []
for number in range(200):
    client = Client(PROXY)
    assert client.greet(1) == 1
    if number % 4 == 1:
        client.send(b"\1\1")
    if number % 4 == 2:
        client.send(message(CONTEXT, client.context.step())[:-1])
    if number % 4 == 3:
        client.set_up()
    stuck.append(client)
for _ in range(20):
    client = Client(PROXY)
    client.authenticate(2)
    client.connect("127.0.0.1", ECHO)
    client.say(b"served")
    assert client.hear() == b"served"
# And those go on where they were.
for number, client in enumerate(stuck):
    if number % 4 == 0:
        client.set_up()
    if number % 4 in (0, 3):
        assert client.ask_level(2) == 2
        client.connect("127.0.0.1", ECHO)
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn two_hundred_false_tokens_at_once_starve_nobody() {
    let script = r#"
clients = []
token = Client(PROXY).context.step()
for number in range(200):
    client = Client(PROXY)
    assert client.greet(1) == 1
    clients.append(client)
for number, client in enumerate(clients):
    at = len(token) - 1 - number % 100
    client.send_message(CONTEXT, token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :])
client = Client(PROXY)
client.authenticate(2)
client.connect("127.0.0.1", ECHO)
for client in clients:
    try:
        client.read_message(CONTEXT)
        raise AssertionError("let in")
    except Refused:
        pass
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn a_session_ends_with_its_ticket() {
    let script = r#"
import time
cache = short_ticket(6)
clients = [Client(PROXY, cache=cache) for _ in range(3)]
for level, client in enumerate(clients[:2], 1):
    client.authenticate(level)
    client.connect("127.0.0.1", ECHO)
    client.say(b"while it lasts")
    assert client.hear() == b"while it lasts"
clients[2].authenticate(2)
clients[2].associate()
ends = time.time() + clients[0].context.lifetime
for client in clients:
    assert client.is_closed()
    # Whole seconds, and what the realm forgives.
    assert time.time() > ends - 2, "too early"
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn a_session_outlives_its_ticket_if_that_is_allowed() {
    let script = r#"
import time
client = Client(PROXY, cache=short_ticket(5))
client.authenticate(2)
client.connect("127.0.0.1", ECHO)
time.sleep(8)
client.say(b"still there")
assert client.hear() == b"still there"
"#;
    World::new(strict().outlive_tickets())
        .await
        .python(script)
        .await;
}

#[tokio::test]
async fn an_end_within_a_message_does_not_look_like_an_orderly_one_to_the_target() {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let target = Origin::serve(V4, move |mut stream| {
        let ends = ends.clone();
        async move {
            let mut read = Vec::new();
            let end = stream.read_to_end(&mut read).await;
            ends.send((read, end.is_ok())).unwrap();
        }
    });
    let target = target.await;
    let world = World::new(strict()).await;
    for (cut, is_orderly) in [(0, true), (1, false), (3, false), (4, false), (20, false)] {
        let script = format!(
            r#"
client = Client(PROXY)
client.authenticate(2)
client.connect("127.0.0.1", {})
client.say(b"whole")
client.send(message(DATA, client.wrap(b"cut"))[:{cut}])
client.sock.shutdown(socket.SHUT_WR)
client.is_closed()
"#,
            target.port()
        );
        world.python(&script).await;
        let (read, orderly) = patiently("the end", ended.recv()).await.unwrap();
        assert_eq!(orderly, is_orderly, "{cut} bytes of a message");
        if is_orderly {
            assert_eq!(read, b"whole");
        }
    }
}
