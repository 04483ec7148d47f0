"""Stops, restarts and kills under load: what was sent is answered, and what was answered is captured."""

import json
import os
import signal
import socket
import time

import pytest
from tests.conftest import eventually
from tests.faults.load import ALONE, PREDICT, ROW, Clients, workers_of, wrk, wrk_running

from headrace.serving.capture import read_segment
from headrace.serving.segments import unshipped

pytestmark = ALONE


@pytest.fixture
def serve(registered, start_headrace):
    def start(*options):
        return start_headrace("--workspace", registered.places.url, "serve", "--port", "0", *options)

    return start


def test_a_stop_answers_every_request_that_was_sent(serve):
    server = serve()
    with Clients(server["port"], 8) as clients:
        eventually(lambda: len(clients.answered) > 500)
        signalled = time.monotonic()
        server["process"].terminate()
        code = server["process"].wait(20)
        eventually(lambda: len(clients.refused) == 8)
    # A new connection may be cut before its first reply once the server no longer listens: that is a refusal too.
    lost = [f for f in clients.failed if f.before or f.opened < signalled or "IncompleteRead" in f.error]
    assert lost == []
    assert {reply.status for reply in clients.answered} == {200}
    assert code == 0


def test_a_request_that_is_half_sent_at_the_stop_is_answered(serve):
    server = serve()
    body = json.dumps(ROW).encode()
    with socket.create_connection(("127.0.0.1", server["port"]), timeout=20) as sock:
        sock.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nhost: test\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body[:9]
        )
        eventually(lambda: sock.send(b"") == 0)
        server["process"].terminate()
        eventually(lambda: refuses(server["port"]))
        sock.sendall(body[9:])
        reply = b"".join(iter(lambda: sock.recv(4096), b""))
    assert reply.startswith(b"HTTP/1.1 200 ") and b'"true":0.2' in reply
    assert server["process"].wait(20) == 0


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def two_workers(pid, without=None):
    """The processes of the workers, as soon as there are two."""
    return eventually(lambda: len(found := workers_of(pid)) == 2 and without not in found and found)


def test_workers_are_stopped_one_by_one_and_no_request_fails(serve):
    server = serve("--workers", "2")
    pid = server["process"].pid
    first = two_workers(pid)
    with wrk_running(server["url"] + PREDICT, json.dumps(ROW)) as load:
        for worker in first:
            os.kill(worker, signal.SIGTERM)
            two_workers(pid, without=worker)
        seen = load.stop()
    assert seen["requests"] > 100
    assert not first & workers_of(pid)
    for part in (seen, wrk(server["url"] + PREDICT, json.dumps(ROW), seconds=1)):
        assert not any(part["errors"].values()), part
        assert part["non_2xx"] == 0, part


def test_a_killed_worker_costs_at_most_what_was_in_flight(registered, serve):
    server = serve("--workers", "2")
    pid = server["process"].pid
    first = two_workers(pid)
    with Clients(server["port"], 8) as clients:
        eventually(lambda: len(clients.answered) > 1000)
        victim, killed = min(first), time.monotonic()
        os.kill(victim, signal.SIGKILL)
        two_workers(pid, without=victim)
        restarted = len(clients.answered)
        eventually(lambda: len(clients.answered) > restarted + 1000)
    assert len(clients.failed) <= 8 and all(f.opened < killed for f in clients.failed), clients.failed
    assert clients.refused == []
    assert {reply.status for reply in clients.answered} == {200}
    server["process"].terminate()
    server["process"].wait(20)
    assert missing(registered, clients, killed - 0.1) == set()


def test_a_kill_loses_at_most_the_last_100_ms_of_the_capture(registered, serve):
    clients, killed = kill_under_load(serve())
    assert missing(registered, clients, killed - 0.1) == set()


def test_durable_capture_loses_nothing_that_was_answered(registered, serve):
    clients, _ = kill_under_load(serve("--capture", "durable"))
    assert missing(registered, clients, float("inf")) == set()


def kill_under_load(server):
    with Clients(server["port"], 8) as clients:
        eventually(lambda: len(clients.answered) > 1500)
        killed = time.monotonic()
        server["process"].kill()
        server["process"].wait()
    assert {reply.status for reply in clients.answered} == {200}
    return clients, killed


def missing(ws, clients, until):
    """The identifiers that reached a client before the moment `until` and are in no segment."""
    due = {reply.id for reply in clients.answered if reply.arrived < until}
    assert len(due) > 500
    segments = unshipped(ws.places.spool, ws.places.predictions_inbox)
    return due - {record.id for path in segments for record in read_segment(path)}
