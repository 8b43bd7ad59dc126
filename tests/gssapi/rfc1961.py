"""RFC 1961 on python-gssapi, both its sides. They do what they are told, right or wrong.

    client = Client(port)                # TCP to 127.0.0.1
    client.authenticate(level=2)         # greeting, context, level
    client.connect("127.0.0.1", 80)      # the request, and its reply
    client.say(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(client.hear())                 # the text of one message
"""

import ipaddress
import os
import socket
import struct
import subprocess

import gssapi
from gssapi import RequirementFlag as Flag

KRB5 = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2")
FLAGS = [Flag.mutual_authentication, Flag.replay_detection, Flag.out_of_sequence_detection]
CONTEXT, LEVEL, DATA = 1, 2, 3


class Refused(Exception):
    """The other side sent `01 FF`, and closed."""


def message(kind, token):
    return struct.pack("!BBH", 1, kind, len(token)) + token


def address(host, port):
    """ATYP, address and port."""
    try:
        ip = ipaddress.ip_address(host)
        host = bytes([1 if ip.version == 4 else 4]) + ip.packed
    except ValueError:
        host = bytes([3, len(host)]) + host.encode()
    return host + struct.pack("!H", port)


def split_address(data):
    """The host and port at the head of `data`, and what follows."""
    length = {1: 4, 4: 16}[data[0]]
    end = 1 + length + 2
    host = str(ipaddress.ip_address(data[1 : 1 + length]))
    return (host, *struct.unpack("!H", data[1 + length : end])), data[end:]


def short_ticket(seconds):
    """A cache with a ticket of joe's that is soon over, to be asked for others by."""
    realm = os.environ["SOCKS_TESTS_REALM"]
    cache = f"{realm}/short-{os.getpid()}.ccache"
    keys = ["-k", "-t", f"{realm}/joe.keytab"]
    subprocess.run(["kinit", "-c", cache, *keys, "-l", f"{seconds}s", "joe"], check=True)
    return cache


class Peer:
    """One end of a connection. `step` is how many bytes a write has at most."""

    def __init__(self, sock, context, step=None):
        sock.settimeout(30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.context, self.step = sock, context, step
        self.level = None

    def send(self, data):
        step = self.step or len(data) or 1
        for at in range(0, len(data), step):
            self.sock.sendall(data[at : at + step])

    def read(self, length):
        data = b""
        while len(data) < length:
            more = self.sock.recv(length - len(data))
            if not more:
                raise EOFError(f"closed, {len(data)} bytes of {length}")
            data += more
        return data

    def read_to_the_end(self):
        data = b""
        try:
            while more := self.sock.recv(65_536):
                data += more
        except ConnectionResetError:
            pass
        return data

    def is_closed(self):
        """Whether the other side closes, without another word."""
        return self.read_to_the_end() == b""

    def send_message(self, kind, token):
        self.send(message(kind, token))

    def read_message(self, kind):
        version, got = self.read(2)
        assert version == 1, version
        if got == 0xFF:
            assert self.is_closed(), "something follows a refusal"
            raise Refused
        assert got == kind, (got, kind)
        return self.read(*struct.unpack("!H", self.read(2)))

    # RFC 1961 section 5: what travels once the level is agreed on.

    def wrap(self, text, encrypt=None):
        return self.context.wrap(text, self.level == 2 if encrypt is None else encrypt).message

    def unwrap(self, token):
        text = self.context.unwrap(token)
        assert text.encrypted == (self.level == 2), "at another level"
        return text.message

    def say(self, text, encrypt=None):
        self.send_message(DATA, self.wrap(text, encrypt))

    def hear(self):
        """The text of one message."""
        return self.unwrap(self.read_message(DATA))

    def hear_all(self, length):
        text = b""
        while len(text) < length:
            text += self.hear()
        assert len(text) == length, "more than that"
        return text


class Client(Peer):
    def __init__(self, port, service="socks@proxy.test", flags=FLAGS, step=None, cache=None):
        sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        name = gssapi.Name(service, gssapi.NameType.hostbased_service)
        store = {"ccache": f"FILE:{cache}"} if cache else None
        context = gssapi.SecurityContext(
            name=name,
            creds=gssapi.Credentials(usage="initiate", store=store),
            mech=KRB5,
            flags=flags,
            usage="initiate",
        )
        super().__init__(sock, context, step)

    def greet(self, *methods):
        """The method that the server chooses."""
        self.send(bytes([5, len(methods), *methods]))
        version, method = self.read(2)
        assert version == 5, version
        return method

    def set_up(self):
        """Section 3."""
        token = self.context.step()
        while token:
            self.send_message(CONTEXT, token)
            answer = self.read_message(CONTEXT)
            token = self.context.step(answer) if answer else None
        assert self.context.complete

    def ask_level(self, level, wrapped=True):
        """Section 4: what the server answers, an octet."""
        token = bytes([level])
        self.send_message(LEVEL, self.wrap(token, False) if wrapped else token)
        answer = self.read_message(LEVEL)
        if wrapped:
            text = self.context.unwrap(answer)
            assert not text.encrypted
            answer = text.message
        (self.level,) = answer
        return self.level

    def authenticate(self, level, wrapped=True):
        assert self.greet(1) == 1
        self.set_up()
        return self.ask_level(level, wrapped)

    def request(self, command, host, port):
        """The reply's code, and the address in it."""
        self.say(bytes([5, command, 0]) + address(host, port))
        return self.reply()

    def reply(self):
        reply = self.hear()
        assert reply[0] == 5 and reply[2] == 0, reply
        bound, rest = split_address(reply[3:])
        assert not rest, rest
        return reply[1], bound

    def connect(self, host, port):
        code, _ = self.request(1, host, port)
        assert code == 0, code

    # RFC 1928 section 7.

    def associate(self):
        code, self.relay = self.request(3, "0.0.0.0", 0)
        assert code == 0, code
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.settimeout(30)

    def datagram(self, host, port, text, encrypt=None):
        return message(DATA, self.wrap(b"\0\0\0" + address(host, port) + text, encrypt))

    def send_datagram(self, datagram):
        self.udp.sendto(datagram, self.relay)

    def hear_datagram(self):
        """Where it is from, and its text."""
        data = self.udp.recv(65536)
        version, kind, length = struct.unpack("!BBH", data[:4])
        assert (version, kind, length) == (1, DATA, len(data) - 4), data[:4]
        text = self.unwrap(data[4:])
        assert text[:3] == b"\0\0\0", text[:3]
        return split_address(text[3:])


class Server(Peer):
    """Of one client, whose greeting is answered when this is made."""

    def __init__(self, listener):
        context = gssapi.SecurityContext(
            creds=gssapi.Credentials(usage="accept"), usage="accept"
        )
        super().__init__(listener.accept()[0], context)
        version, count = self.read(2)
        assert version == 5 and 1 in self.read(count)
        self.send(b"\5\1")

    def set_up(self):
        while not self.context.complete:
            answer = self.context.step(self.read_message(CONTEXT))
            self.send_message(CONTEXT, answer or b"")

    def answer_level(self, answer=None):
        """What the client asks for, an octet. It is answered with that, unless told."""
        text = self.context.unwrap(self.read_message(LEVEL))
        assert not text.encrypted
        (asked,) = text.message
        self.level = asked if answer is None else answer
        self.send_message(LEVEL, self.wrap(bytes([self.level]), False))
        return asked

    def take_request(self):
        """The command, and where to. It is granted."""
        request = self.hear()
        assert request[0] == 5 and request[2] == 0, request
        where, rest = split_address(request[3:])
        assert not rest, rest
        self.say(b"\5\0\0" + address("127.0.0.1", 9))
        return request[1], where

