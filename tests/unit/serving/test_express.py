"""What the express way takes, what it leaves alone, and what it gives back."""

import asyncio
import hashlib
import json
from types import SimpleNamespace

import pytest

from headrace.entrypoints.outcomes import status_of
from headrace.kernel.errors import SchemaViolation
from headrace.kernel.ports import Answers
from headrace.kernel.routes import Arm, Endpoint, Key, RouteDocument
from headrace.kernel.schema import Column, Schema
from headrace.serving.answering import Answering
from headrace.serving.app import ScoringApp
from headrace.serving.counters import Counters
from headrace.serving.endpoints import Endpoints
from headrace.serving.express import Express
from headrace.serving.guard import Guard
from headrace.serving.limits import Limits
from headrace.serving.paths import Paths
from headrace.serving.replies import Reply
from headrace.serving.site import VertexRoutes, site

SCHEMA = Schema(frame="polars", columns=(Column("a", "number", "Float64", example=1.0),))
KEYS = {
    hashlib.sha256(key.id.encode()).hexdigest(): key
    for key in (Key("shop-key", "shop", ("predict",), quota=2.0), Key("free-key", "free", ("predict",)))
}
BAD, ODD = 666.0, 777.0
"""Values at which the model raises, and answers what cannot be encoded."""


class Request:
    def __init__(self, path="/models/m/predict", body=b'{"a": 1.5}', **headers):
        self.path, self.body = path, body
        self.headers = {b"authorization": b"Bearer free-key"}
        self.headers |= {name.replace("_", "-").encode(): value for name, value in headers.items()}
        self.replies, self.back = [], 0

    def reply(self, reply, generation):
        self.replies.append((json.loads(reply.body), generation))

    def hand_back(self):
        self.back += 1


def scorer(digest):
    def answer(columns, rows):
        if BAD in columns["a"]:
            raise ValueError("no")
        return Answers([{1: object()} if a == ODD else 2 * a for a in columns["a"]], None)

    return SimpleNamespace(schema=SCHEMA, task="regression", classes=(), runtime="graph", answer=answer)


class Server:
    """All that `headrace serve` puts around the express way, but for the network."""

    def __init__(self, canary=None, most=1000):
        self.counters, limits = Counters(), Limits(concurrent=most)
        self.endpoints = Endpoints(scorer, self.counters, limits)
        arms = Endpoint(Arm(1, "one"), Arm(2, "two") if canary else None, share=50.0)
        self.endpoints.swap(RouteDocument(7, {"m": arms}, {"m": {1: "one", 3: "three"}}, keys=KEYS))
        self.answering = Answering(self.endpoints, self.counters, None, b"", status_of)
        table = site(self.endpoints, {}, lambda: Reply(200, b""), lambda: False, VertexRoutes())
        guard, paths = Guard(True, lambda: 0.0), Paths(table)
        self.app = ScoringApp(self.endpoints, self.answering, self.counters, guard, limits, paths, status_of)
        self.express = Express(self.app)
        self.guard = guard
        self.batcher = self.endpoints.active("m").live.loaded.batcher
        for _ in range(20):
            self.batcher.single({"a": [1.0]}, 1)

    def alone(self):
        """As it is where no other request was there of late."""
        self.batcher._crowded = False


def run(story):
    asyncio.run(asyncio.wait_for(story(), 10))


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


def test_requests_of_one_turn_are_one_batch():
    async def story():
        server = Server()
        requests = [Request(body=json.dumps({"a": float(n)}).encode()) for n in range(3)]
        assert all(server.express.take(request) for request in requests)
        assert server.counters.running == 3 and not requests[0].replies
        await turns()
        server.answering.note_all()
        for n, request in enumerate(requests):
            ((reply, generation),) = request.replies
            assert reply["predictions"] == [{"prediction": 2.0 * n}] and generation == 7
        assert server.counters.running == 0 and server.counters.batch_rows.counts[2] == 1
        ((label, series),) = server.counters.series.items()
        assert label == ("m", 1, "live", "native", "free", 200) and series.requests == 3

    run(story)


def test_one_that_is_alone_is_answered_at_once():
    server, request = Server(), Request()
    server.alone()

    async def story():
        assert server.express.take(request) and request.replies

    run(story)


@pytest.mark.parametrize(
    "request_",
    [
        Request(path="/models/nothing/predict"),
        Request(path="/models/m/versions/9/predict"),
        Request(path="/nothing"),
        Request(path="/metrics"),
        Request(path="/models/m/versions/3/predict"),
        Request(authorization=b"Bearer nobody"),
        Request(body=b'{"a": "x"}'),
        Request(body=b"{"),
        Request(body=b'{"a": 1.0, "b": 2.0}'[:0]),
        Request(body=json.dumps({"rows": [{"a": 1.0}] * 65}).encode()),
        Request(content_encoding=b"gzip"),
        Request(content_type=b"application/vnd.apache.arrow.stream"),
        Request(headrace_deadline=b"999"),
        Request(headrace_deadline=b"soon"),
        Request(x_request_id=b"a\x01b"),
        Request(x_request_id=b"\xe9"),
    ],
    ids=lambda request: f"{request.path} {request.body[:20]} {sorted(request.headers)}",
)
def test_what_is_refused_or_takes_time_is_left_alone(request_):
    async def story():
        server = Server()
        for crowded in (True, False):
            server.batcher._crowded = crowded
            assert not server.express.take(request_)
        await turns()
        assert not request_.replies and not request_.back and server.counters.running == 0

    run(story)


@pytest.mark.parametrize("why", ["canary", "draining", "concurrent", "durable", "costly"])
def test_states_in_which_nothing_is_taken(why):
    async def story():
        server = Server(canary=why == "canary", most=1)
        assert server.express.take(Request()) is (why != "canary")
        if why == "draining":
            server.app.draining = True
        elif why == "durable":
            server.answering.durable = True
        elif why == "costly":
            await turns()
            server.batcher._seconds = 1.0
        assert not server.express.take(Request())

    run(story)


def test_deadlines_and_ids_that_are_plain_are_taken():
    async def story():
        server = Server()
        assert server.express.take(Request(headrace_deadline=b"1000", x_request_id=b"abc-1"))

    run(story)


@pytest.mark.parametrize("value", [BAD, ODD])
def test_what_fails_is_given_back_and_the_others_are_answered(value):
    """A batch in which the model raises, or says what cannot be encoded."""

    async def story():
        server = Server()
        requests = [Request(body=json.dumps({"a": one}).encode()) for one in (1.0, value, 3.0)]
        assert all(server.express.take(request) for request in requests)
        await turns()
        assert [(len(r.replies), r.back) for r in requests] == [(1, 0), (0, 1), (1, 0)]
        assert server.counters.running == 0
        server.alone()
        assert not server.express.take(requests[1])

    run(story)


def test_a_quota_is_spent_once_whoever_answers():
    async def story():
        server = Server()
        shop = {"authorization": b"Bearer shop-key"}
        failing = Request(body=json.dumps({"a": BAD}).encode(), **shop)
        assert server.express.take(failing)
        await turns()
        assert failing.back == 1
        assert [server.express.take(Request(**shop)) for _ in range(3)] == [True, True, False]

    run(story)


def test_the_model_is_blamed_with_the_row():
    with pytest.raises(SchemaViolation, match="row 0"):
        Server().batcher.single({"a": [BAD]}, 1)
