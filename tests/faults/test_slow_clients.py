"""A thousand clients that hold their connections and send next to nothing: the others do not feel it, and they go."""

import http.client
import json
import resource
import time
from collections import Counter

import pytest
from tests.conftest import eventually
from tests.faults.load import ALONE, PREDICT, ROW, SlowSockets

pytestmark = ALONE

SLOW = 1000
REQUESTS = 2000
GONE_SECONDS = 40


@pytest.fixture
def many_files():
    """Room for the sockets, here and in the server, which inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * SLOW:
        pytest.skip(f"a process may open {hard} files here, and this needs {2 * SLOW}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(many_files, registered, start_headrace):
    return start_headrace("--workspace", registered.places.url, "serve", "--port", "0")


def p99(server):
    """Seconds, over 2,000 requests on one connection, each of which is answered."""
    took = []
    connection = http.client.HTTPConnection("127.0.0.1", server["port"], timeout=20)
    for _ in range(REQUESTS):
        started = time.perf_counter()
        connection.request("POST", PREDICT, json.dumps(ROW))
        response = connection.getresponse()
        reply = json.loads(response.read())
        took.append(time.perf_counter() - started)
        assert response.status == 200 and not response.will_close, reply
    connection.close()
    return sorted(took)[REQUESTS * 99 // 100]


def test_slow_clients_do_not_slow_the_others(server):
    p99(server)
    alone, beside = [], []
    for _ in range(3):
        alone.append(p99(server))
        with SlowSockets(server["port"], SLOW) as slow:
            beside.append(p99(server))
            assert slow.closed == []
        if min(beside) < 2 * max(alone):
            return
    raise AssertionError(f"p99 alone {alone}, and beside {SLOW} slow clients {beside}")


def test_slow_clients_are_sent_away(server):
    with SlowSockets(server["port"], SLOW) as slow:
        eventually(lambda: len(slow.closed) == SLOW, GONE_SECONDS)
    statuses = {kind: Counter(s.status for s in slow.closed if s.kind == kind) for kind in SlowSockets.BEGINNINGS}
    assert set(statuses["body"]) == {408}, statuses
    assert set(statuses["header"]) | set(statuses["silent"]) <= {0, 408}, statuses
    p99(server)
