"""The Python client against real servers: typed answers, errors by kind, retries, deadlines and fallbacks."""

import asyncio
import contextlib
import http.server
import socket
import threading
import time
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.conftest import Threshold, address, eventually, start

import headrace
from headrace.client import AsyncClient, Client, Prediction
from headrace.kernel.errors import DeadlinePassed, InvalidInput, KeyNeeded, NotFound, SchemaViolation, Unavailable

ROW = {"minutes": 12.0, "carrier": "UA"}


class Slow(Threshold):
    """Takes its time where the carrier asks for it."""

    def predict(self, frame):
        time.sleep(0.5 if "slow" in frame["carrier"].to_list() else 0)
        return super().predict(frame)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = address(tmp_path_factory.mktemp("client") / "ws")
    ws = headrace.open(root)
    example = pl.DataFrame(
        {"minutes": [float(i % 60) if i % 9 else None for i in range(60)], "carrier": ["UA", "AA", "B6"] * 20}
    )
    ws.register("late", Slow(30.0), example=example)
    ws.promote("late@1")
    _, key = ws.create_key("shop", ["predict"])
    with start("--workspace", root, "serve", "--port", "0", "--guarded") as running:
        yield running | {"key": key, "ws": ws}
    ws.close()


@pytest.fixture
def client(server):
    with Client(server["url"], key=server["key"]) as client:
        yield client


def test_typed_answers(server, client):
    answer = client.predict("late", ROW)
    assert (answer.model, answer.version, answer.prediction, answer.fallback) == ("late", 1, False, False)
    assert answer.predictions[0].probabilities == {"false": 0.8, "true": 0.2}
    several = client.predict("late", [ROW, {**ROW, "minutes": np.float64(44)}], version=1)
    assert [one.prediction for one in several.predictions] == [False, True]
    assert several.ids == (f"{several.id}.0", f"{several.id}.1")
    found = eventually(lambda: server["ws"].tables.ingest().height and server["ws"].trace(several.ids[1]))
    assert found["consumer"] == "shop" and found["input"]["minutes"] == 44.0
    with pytest.raises(InvalidInput, match="2 predictions"):
        several.prediction


def test_plain_values_of_other_libraries(client):
    row = {"minutes": float("nan"), "carrier": np.str_("UA"), "unknown": datetime(2013, 1, 1)}
    assert client.predict("late", row).prediction is False
    assert client.predict("late", {"minutes": np.int64(44), "carrier": "UA"}).prediction is True


def test_what_the_server_refuses_is_raised_by_its_kind_whatever_the_fallback(server, client):
    with pytest.raises(SchemaViolation) as caught:
        client.predict("late", {**ROW, "minutes": "x"}, fallback=False)
    assert (caught.value.row, caught.value.field) == (0, "minutes")
    with pytest.raises(NotFound):
        client.predict("none", ROW, fallback=False)
    with pytest.raises(InvalidInput):
        client.predict("late", [])
    with Client(server["url"], key="hr_wrong") as stranger, pytest.raises(KeyNeeded):
        stranger.predict("late", ROW, fallback=False)


def test_a_deadline_that_passes_raises_or_falls_back(client):
    slow = {**ROW, "carrier": "slow"}
    began = time.monotonic()
    with pytest.raises(DeadlinePassed):
        client.predict("late", slow, deadline=0.1)
    answer = client.predict("late", [slow, slow], deadline=0.1, fallback=Prediction(True, {"true": 1.0}))
    assert time.monotonic() - began < 0.9
    assert answer.fallback and answer.predictions == (Prediction(True, {"true": 1.0}),) * 2 and answer.ids == ()
    assert client.predict("late", slow, deadline=5).prediction is False


def test_a_server_that_is_away_is_retried_within_the_deadline(server):
    with Client("http://127.0.0.1:9", retries=2, deadline=5) as client:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="could not be reached"):
            client.predict("late", ROW)
        assert 0.02 < time.monotonic() - began < 3
        assert client.predict("late", ROW, fallback=True).fallback


class Stubborn(http.server.BaseHTTPRequestHandler):
    """Refuses twice, then answers; counts connections."""

    protocol_version = "HTTP/1.1"
    seen: list = []
    connections: set = set()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.seen.append(float(self.headers["headrace-deadline"]))
        self.connections.add(self.client_address)
        good = len(self.seen) > 2
        body = b'{"model":"late","version":7,"id":"x","predictions":[{"prediction":3}]}' if good else b"busy"
        self.send_response(200 if good else (503, 429)[len(self.seen) - 1])
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after", "0.1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def stubborn():
    Stubborn.seen, Stubborn.connections = [], set()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stubborn)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_may_succeed_later_is_tried_again_after_the_named_time_on_one_connection():
    with stubborn() as url, Client(url, retries=3, deadline=5) as client:
        began = time.monotonic()
        assert client.predict("late", ROW).version == 7
        assert time.monotonic() - began >= 0.2
        assert client.predict("late", ROW).version == 7
    assert len(Stubborn.connections) == 1
    assert 5000 >= Stubborn.seen[0] > Stubborn.seen[1] > Stubborn.seen[2]


def test_retries_end():
    with stubborn() as url, Client(url, retries=1, deadline=5) as client, pytest.raises(Unavailable, match="busy"):
        client.predict("late", ROW)


@contextlib.contextmanager
def dripping():
    """A server that sends its reply byte by byte, for 5 s."""
    ends = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def work():
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                for byte in b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n":
                    connection.sendall(bytes([byte]))
                    if ends.wait(0.06):
                        return

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ends.set()
            thread.join()


def test_a_deadline_ends_a_reply_that_drips():
    for fallback in (None, 7):
        with dripping() as url, Client(url, deadline=0.3, retries=0) as client:
            began = time.monotonic()
            if fallback is None:
                with pytest.raises(Unavailable):
                    client.predict("late", ROW)
            else:
                assert client.predict("late", ROW, fallback=fallback).prediction == 7
            assert 0.2 < time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda c: c.predict("late", {**ROW, "minutes": float("inf")}), "infinite"),
        (lambda c: c.predict("late", pl.DataFrame([ROW])), "to_dicts"),
        (lambda c: c.predict("late", ROW, deadline=float("inf")), "deadline"),
        (lambda c: c.predict("late", ROW, deadline=-1), "deadline"),
        (lambda c: Client("127.0.0.1:8000"), "address"),
        (lambda c: Client("ftp://h"), "address"),
        (lambda c: Client("http://h", key="hr_…"), "key"),
        (lambda c: Client("http://h", route_key="a\r\nb"), "route_key"),
    ],
)
def test_a_mistake_of_the_caller_is_said_before_anything_is_sent(client, asked, says):
    with pytest.raises(InvalidInput, match=says):
        asked(client)


def test_names_and_numbers_are_taken_as_they_are(client):
    for name in ("../models/late", "late/versions/1"):
        with pytest.raises(InvalidInput, match="cannot be the name"):
            client.predict(name, ROW)
    with pytest.raises(NotFound):
        client.predict("late", ROW, version=0)
    row = {**ROW, "unknown": np.datetime64("2013-01-01T00:00:00.000000001"), "other": pd.NaT}
    assert client.predict("late", row).prediction is False


def test_the_asynchronous_client(server):
    async def many():
        async with AsyncClient(server["url"], key=server["key"]) as client:
            rows = [{"minutes": float(m), "carrier": "UA"} for m in range(60)]
            answers = await asyncio.gather(*(client.predict("late", row) for row in rows))
            assert [a.prediction for a in answers] == [row["minutes"] > 30 for row in rows]
            began = time.monotonic()
            late = await client.predict("late", {**ROW, "carrier": "slow"}, deadline=0.1, fallback=None)
            assert late.fallback and late.prediction is None and time.monotonic() - began < 0.4
            with pytest.raises(DeadlinePassed):
                await client.predict("late", {**ROW, "carrier": "slow"}, deadline=0.05)
            with pytest.raises(SchemaViolation):
                await client.predict("late", {"minutes": 1.0}, fallback=True)

    asyncio.run(many())
