"""Plain requests go the express way and all others uvicorn's; on the wire nobody can tell which."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from headrace.entrypoints.scoring.connections import MOST_HEAD_BYTES, ScoringProtocol
from headrace.entrypoints.scoring.sweeping import Sweeper
from headrace.serving.app import OVERSIZED
from headrace.serving.replies import Reply

PLAIN = b"POST /p HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n%b"


class Express:
    """Takes everything; replies at once, or when it is told to."""

    def __init__(self, at_once=True):
        self.at_once = at_once
        self.taken = []
        self.refuses = False

    def take(self, request):
        if self.refuses:
            return False
        self.taken.append(request)
        if self.at_once:
            self.reply(request)
        return True

    @staticmethod
    def reply(request):
        request.reply(Reply(200, b"express " + request.body), 7)


async def app(scope, receive, send):
    """Echoes; what came in pieces is put together."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if body == b"~~":
        raise SystemError("a mistake")
    content = b"app " + body + (b" oversized" if OVERSIZED in scope else b"")
    fields = [(b"content-length", b"%d" % len(content)), (b"x-path", scope["path"].encode())]
    if body == b"!!":
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200 if body != b"??" else 422, "headers": fields})
    await send({"type": "http.response.body", "body": content})


class Client:
    """One connection, and the state of its server."""

    def __init__(self, reader, writer, state):
        self.reader, self.writer, self.state = reader, writer, state

    @property
    def connection(self):
        (one,) = self.state.connections
        return one

    async def send(self, *pieces):
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01)

    async def reply(self):
        """Status, fields and body of the next reply."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        status, *lines = head.decode().split("\r\n")[:-2]
        fields = dict(line.split(": ", 1) for line in lines)
        return int(status.split()[1]), fields, await self.reader.readexactly(int(fields["content-length"]))

    async def ended(self):
        return await asyncio.wait_for(self.reader.read(), 5) == b""


def talk(express, story):
    """Run a story against a real server on a real socket."""

    async def main():
        config = uvicorn.Config(app, lifespan="off", log_level="critical", ws="none", proxy_headers=False)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: ScoringProtocol(config=config, server_state=state, app_state={}, express=express), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            await story(Client(reader, writer, state))
        finally:
            writer.close()
            server.close()

    with asyncio.Runner(loop_factory=uvicorn.Config(app).get_loop_factory()) as runner:
        runner.run(asyncio.wait_for(main(), 20))


def test_a_plain_request_is_taken_and_the_next_one_too():
    async def story(client):
        for body in (b"ab", b"cd"):
            await client.send(PLAIN % body)
            status, fields, content = await client.reply()
            assert (status, content) == (200, b"express " + body)
            assert fields == {
                "content-type": "application/json",
                "content-length": "10",
                "headrace-generation": "7",
            }
        assert client.state.total_requests == 2 and client.connection.timeout_keep_alive_task is None

    talk(Express(), story)


@pytest.mark.parametrize(
    "pieces",
    [
        (PLAIN[:9], (PLAIN % b"ab")[9:-1], b"b"),
        (b"POST /p HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab",),
        (b"POST /p HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nab",),
        (b"POST /p HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab",),
        (b"POST /p?a=1 HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab",),
        (b"POST /%70 HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab",),
        (b"PUT /p HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab",),
        (b"POST /p HTTP/1.1\r\nx: " + b"x" * MOST_HEAD_BYTES + b"\r\ncontent-length: 2\r\n\r\nab",),
        (
            b"POST /p HTTP/1.1\r\nx: " + b"x" * (MOST_HEAD_BYTES - 2000),
            b"x" * 3000 + b"\r\ncontent-length: 2\r\n\r\nab",
        ),
    ],
    ids=["pieces", "continue", "http 1.0", "close", "query", "escaped", "put", "large head", "large head in pieces"],
)
def test_all_others_are_not(pieces):
    express = Express()

    async def story(client):
        await client.send(*pieces)
        if b"100-continue" in pieces[0]:
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        status, fields, content = await client.reply()
        assert (status, fields["x-path"]) == (200, "/p")
        large = any(len(piece) > 1000 for piece in pieces)
        assert content == b"app ab" + (b" oversized" if large else b"")

    talk(express, story)
    assert not express.taken


def test_a_chunked_body_that_came_whole_is_taken():
    async def story(client):
        await client.send(
            b"POST /p HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
        )
        assert (await client.reply())[2] == b"express ab"

    talk(Express(), story)


def test_what_is_not_taken_is_answered_by_the_app():
    express = Express()
    express.refuses = True

    async def story(client):
        for body in (b"ab", b"cd"):
            await client.send(PLAIN % body)
            assert (await client.reply())[2] == b"app " + body

    talk(express, story)


@pytest.mark.parametrize("at_once", [True, False])
def test_requests_sent_without_waiting_are_answered_in_their_order(at_once):
    express = Express(at_once)

    async def story(client):
        others = b"GET /g HTTP/1.1\r\nhost: h\r\n\r\n" + PLAIN % b"cd" + PLAIN % b"??" + PLAIN % b"ef"
        await client.send(PLAIN % b"ab" + others)
        if not at_once:
            assert [request.body for request in express.taken] == [b"ab"]
            express.reply(express.taken[0])
        found = [await client.reply() for _ in range(5)]
        assert [content.split()[-1] for _, _, content in found] == [b"ab", b"app", b"cd", b"??", b"ef"]
        assert [status for status, _, _ in found] == [200, 200, 200, 422 if b"app" in found[3][2] else 200, 200]

    talk(express, story)


def test_what_was_taken_and_then_failed_goes_through_the_app():
    express = Express(at_once=False)

    async def story(client):
        for body, status in ((b"ab", 200), (b"??", 422)):
            await client.send(PLAIN % body + (PLAIN % b"zz" if body == b"ab" else b""))
            express.taken[-1].hand_back()
            found = await client.reply()
            assert (found[0], found[1]["x-path"], found[2]) == (status, "/p", b"app " + body)
            if body == b"ab":
                assert (await client.reply())[2] == b"app zz"
        await client.send(PLAIN % b"!!")
        express.taken[-1].hand_back()
        assert (await client.reply())[1]["connection"] == "close"
        assert await client.ended()

    talk(express, story)


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
@pytest.mark.parametrize("apart", [True, False])
def test_an_upgrade_is_not_heard_and_its_request_is_read_whole(protocol, apart):
    """Java's client asks for HTTP/2 so; a body is never taken for a request."""
    head = b"POST /p HTTP/1.1\r\nhost: h\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: %b\r\n" % protocol
    head += b"http2-settings: AAEAAEAA\r\ncontent-length: 18\r\n\r\n"
    body = b"GET / HTTP/1.1\r\n\r\n"
    express = Express()

    async def story(client):
        for _ in range(2):
            await client.send(*((head, body) if apart else (head + body,)))
            assert (await client.reply())[2].endswith(b" " + body)
        await client.send(PLAIN % b"ab")
        assert (await client.reply())[2] == b"express ab"

    talk(express, story)


def test_a_tunnel_is_refused():
    async def story(client):
        await client.send(b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n")
        assert (await client.reply())[0] == 400

    talk(Express(), story)


def test_trailers_are_not_fields_of_the_head():
    express = Express()

    async def story(client):
        await client.send(
            b"POST /p HTTP/1.1\r\nhost: h\r\nx-api-key: one\r\ntransfer-encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n0\r\nx-api-key: two\r\n\r\n"
        )
        await client.reply()
        assert express.taken[0].headers[b"x-api-key"] == b"one"

    talk(express, story)


@pytest.mark.parametrize("url", [b"http://h:99999/", b"http://a:b:c/", b"http://[::1/x"])
@pytest.mark.parametrize("body", [b"ab", b"a"])
def test_an_address_that_is_none_is_refused(url, body):
    express = Express()
    express.refuses = True

    async def story(client):
        await client.send(b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n%b" % (url, body))
        assert (await client.reply())[0] == 400
        assert await client.ended()

    talk(express, story)


def test_what_is_no_http_is_refused_after_the_requests_before_it():
    express = Express(at_once=False)

    async def story(client):
        await client.send(PLAIN % b"ab" + b"GET /g HTTP/1.1\r\nhost: h\r\n\r\n" + b"garbage\r\n\r\n")
        express.reply(express.taken[0])
        assert (await client.reply())[2] == b"express ab"
        assert (await client.reply())[2] == b"app "
        assert await client.ended()

    talk(express, story)


def test_a_connection_that_was_aborted_takes_its_reply_without_a_word():
    express = Express(at_once=False)

    async def story(client):
        await client.send(PLAIN % b"ab" + b"GET /g HTTP/1.1\r\nhost: h\r\n\r\n")
        client.connection.transport.abort()
        await asyncio.sleep(0.05)
        express.reply(express.taken[0])

    talk(express, story)


def test_a_mistake_of_the_app_closes_the_connection():
    express = Express(at_once=False)

    async def story(client):
        await client.send(PLAIN % b"~~")
        express.taken[0].hand_back()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.reply()

    talk(express, story)


def test_a_head_that_came_with_the_request_before_it_must_be_completed_in_time():
    async def story(client):
        server = SimpleNamespace(server_state=client.state)
        sweeper = Sweeper(server, head_seconds=10, idle_seconds=75)
        await client.send(PLAIN % b"ab" + b"POST /p HTT")
        await client.reply()
        sweeper.look(0.0)
        sweeper.look(9.0)
        assert client.connection
        sweeper.look(10.0)
        with contextlib.suppress(ConnectionResetError):
            assert await client.ended()
        assert not client.state.connections

    talk(Express(), story)


def test_a_client_that_left_gets_no_reply_and_breaks_nothing():
    express = Express(at_once=False)

    async def story(client):
        await client.send(PLAIN % b"ab")
        client.writer.transport.abort()
        while not express.taken[0].disconnected:
            await asyncio.sleep(0.01)
        express.reply(express.taken[0])
        assert not client.state.connections

    talk(express, story)


def test_a_server_that_ends_answers_what_it_took_and_then_closes():
    express = Express(at_once=False)

    async def story(client):
        await client.send(PLAIN % b"ab")
        client.connection.shutdown()
        express.reply(express.taken[0])
        status, fields, content = await client.reply()
        assert (status, fields["connection"], content) == (200, "close", b"express ab")
        assert await client.ended()

    talk(express, story)


def test_connections_that_idle_are_closed_and_used_ones_are_not():
    async def story(client):
        server = SimpleNamespace(server_state=client.state)
        sweeper = Sweeper(server, head_seconds=10, idle_seconds=75)
        for now in (0.0, 70.0, 140.0):
            await client.send(PLAIN % b"ab")
            await client.reply()
            sweeper.look(now)
        sweeper.look(214.0)
        assert client.connection
        await client.send(b"POST /p HTTP/1.1\r\n")
        sweeper.look(215.0)
        sweeper.look(224.0)
        assert client.connection
        sweeper.look(225.0)
        assert await client.ended()

    talk(Express(), story)
