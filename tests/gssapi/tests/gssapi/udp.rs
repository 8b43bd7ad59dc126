//! UDP ASSOCIATE within GSS-API.

use super::{World, strict};

#[tokio::test]
async fn datagrams_are_wrapped_at_each_level() {
    let script = r#"
for level in (1, 2):
    client = Client(PROXY, flags=FLAGS[:2])
    client.authenticate(level)
    client.associate()
    for host in ("127.0.0.1", "localhost"):
        for length in (0, 1, 1200, 60_000):
            text = os.urandom(length)
            client.send_datagram(client.datagram(host, UDP_ECHO, text))
            assert client.hear_datagram() == (("127.0.0.1", UDP_ECHO), text)
"#;
    World::new(strict()).await.python(script).await;
}

#[tokio::test]
async fn what_is_not_the_clients_own_is_dropped_and_the_rest_goes_on() {
    let script = r#"
for level in (1, 2):
    client = Client(PROXY, flags=FLAGS[:2])
    client.authenticate(level)
    client.associate()
    def goes_on(text):
        client.send_datagram(client.datagram("127.0.0.1", UDP_ECHO, text))
        # Had the one before been let through, its echo would come first.
        assert client.hear_datagram() == (("127.0.0.1", UDP_ECHO), text)
    def make(encrypt=None):
        return client.datagram("127.0.0.1", UDP_ECHO, b"not to be seen", encrypt)
    once = client.datagram("127.0.0.1", UDP_ECHO, b"once")
    client.send_datagram(once)
    assert client.hear_datagram()[1] == b"once"
    altered = make()
    altered = altered[:-1] + bytes([altered[-1] ^ 1])
    wrong_kind = bytearray(make())
    wrong_kind[1] = CONTEXT
    too_long = make()
    too_long = too_long[:2] + struct.pack("!H", len(too_long)) + too_long[4:]
    bare = b"\0\0\0" + address("127.0.0.1", UDP_ECHO) + b"not to be seen"
    stranger = Client(PROXY, flags=FLAGS[:2])
    stranger.authenticate(level)
    of_another = stranger.datagram("127.0.0.1", UDP_ECHO, b"not to be seen")
    for datagram in (
        once, altered, wrong_kind, too_long, bare, of_another, b"", b"\1\3\0\0",
        make()[:-1], make() + b"\0",
        *([make(encrypt=False)] if level == 2 else []),
    ):
        client.send_datagram(datagram)
        goes_on(b"a good one")
    # One is lost, and two come in the other order.
    make()
    goes_on(b"behind a gap")
    first, second = (client.datagram("127.0.0.1", UDP_ECHO, text) for text in (b"1", b"2"))
    client.send_datagram(second)
    assert client.hear_datagram()[1] == b"2"
    client.send_datagram(first)
    assert client.hear_datagram()[1] == b"1"
"#;
    World::new(strict()).await.python(script).await;
}
