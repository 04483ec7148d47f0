"""Load on a running server, and a look at its processes: wrk, clients that keep their connections, slow sockets, /proc.

Everything here is on the outside: HTTP, sockets, process numbers.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
ALONE = [pytest.mark.servers, pytest.mark.timing, *([pytest.mark.soak] if SOAK else [])]
"""Marks of tests that want the machine for themselves: `make test-all` runs them one at a time, `make soak` at length."""
PREDICT = "/models/late/predict"
ROW = {"minutes": 12.0, "carrier": "UA"}

LUA = """
local texts = { %(bodies)s }
local headers = { %(headers)s }
local requests, threads = {}, {}
local word = %(word)s
turn, words, statuses = 0, {}, {}

local function count(counts, key) counts[key] = (counts[key] or 0) + 1 end

function setup(thread) table.insert(threads, thread) end

function init()
  for name, value in pairs(headers) do wrk.headers[name] = value end
  for i, text in ipairs(texts) do requests[i] = wrk.format("POST", nil, nil, text) end
end

function request()
  turn = turn %% #requests + 1
  return requests[turn]
end

function response(status, headers, body)
  if next(statuses) == nil then io.stderr:write("answered\\n") end
  count(statuses, tostring(status))
  if word then count(words, word(status, headers, body)) end
end

local function quoted(text) return '"' .. text:gsub('[%%c"\\\\]', "?") .. '"' end

local function object(name)
  local sums, parts = {}, {}
  for _, thread in ipairs(threads) do
    for key, number in pairs(thread:get(name)) do sums[key] = (sums[key] or 0) + number end
  end
  for key, number in pairs(sums) do table.insert(parts, quoted(key) .. ":" .. number) end
  return "{" .. table.concat(parts, ",") .. "}"
end

function done(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%%d,"errors":{"connect":%%d,"read":%%d,"write":%%d,"timeout":%%d},"p50":%%.6f,"p99":%%.6f,' ..
    '"statuses":%%s,"words":%%s}\\n',
    summary.requests, e.connect, e.read, e.write, e.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, object("statuses"), object("words")))
end
"""


class Wrk:
    """wrk at work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stop(self) -> dict[str, Any]:
        """End it now, and give what it saw."""
        self._process.send_signal(signal.SIGINT)
        return self.result()

    def result(self) -> dict[str, Any]:
        """What it saw: `requests`, `statuses`, `non_2xx`, socket `errors` by kind, `p50` and `p99` in seconds, `words`.

        wrk counts a stall as the many requests that it kept from being sent, so one of 20 ms shows in the p99 of 2 s.
        """
        seen = json.loads(self._process.communicate()[1].splitlines()[-1])
        seen["non_2xx"] = sum(n for status, n in seen["statuses"].items() if not status.startswith("2"))
        return seen


@contextlib.contextmanager
def wrk_running(
    url: str,
    *bodies: str,
    connections: int = 16,
    seconds: int = 120,
    headers: dict[str, str] | None = None,
    word: str = "",
) -> Iterator[Wrk]:
    """wrk, from its first reply until it is stopped or its seconds are over; the bodies are posted in turn.

    Args:
        word: the body of a Lua function of `status`, `headers` and `body`, which gives a word for each reply; the
            words are counted. It looks at every reply.
    """
    named = {"content-type": "application/json", **(headers or {})}
    parts = {
        "bodies": ",".join(_lua(body) for body in bodies),
        "headers": ",".join(f"[{_lua(name)}] = {_lua(value)}" for name, value in named.items()),
        "word": f"function(status, headers, body) {word} end" if word else "nil",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % parts)
        script.flush()
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name]
        command = [_wrk(), *options, url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                first = process.stderr.readline()
                assert first == "answered\n", f"no reply at all: {first}{process.stderr.read()}"
                yield Wrk(process)
            finally:
                process.kill()


def wrk(
    url: str, *bodies: str, connections: int = 16, seconds: int = 2, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Load for some seconds, and what was seen."""
    with wrk_running(url, *bodies, connections=connections, seconds=seconds, headers=headers) as running:
        return running.result()


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        if "wrk" in os.environ.get("HEADRACE_REQUIRE", ""):
            pytest.fail("HEADRACE_REQUIRE asks for wrk, and it is not installed")
        pytest.skip("wrk is not installed")
    return found


def _lua(text: str) -> str:
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


class Answered(NamedTuple):
    """A whole reply."""

    arrived: float
    status: int
    id: str


class Failed(NamedTuple):
    """A request without a whole reply, after `before` replies on a connection of the moment `opened`."""

    opened: float
    before: int
    error: str


class Clients:
    """Threads that each ask again and again over one connection, until they are stopped or the server takes no more.

    A connection that the server announced to close, or that broke, is followed by another; a refused one ends it.
    """

    def __init__(self, port: int, number: int) -> None:
        self.answered: list[Answered] = []
        self.failed: list[Failed] = []
        self.refused: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                connection.connect()
            except OSError as error:
                self.refused.append(repr(error))
                return
            self._converse(connection)
            connection.close()

    def _converse(self, connection: http.client.HTTPConnection) -> None:
        opened, before, body = time.monotonic(), 0, json.dumps(ROW)
        try:
            while not self._stop.is_set():
                connection.request("POST", PREDICT, body)
                response = connection.getresponse()
                reply = json.loads(response.read())
                self.answered.append(Answered(time.monotonic(), response.status, reply.get("id", "")))
                before += 1
                if response.will_close:
                    return
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(Failed(opened, before, repr(error)))


class Slow(NamedTuple):
    """What became of a slow socket: how it was slow, the status it was given (0 for none), and when it was closed."""

    kind: str
    status: int
    seconds: float


class _Opened(NamedTuple):
    socket: socket.socket
    kind: str
    at: float
    reply: bytearray


class SlowSockets:
    """Sockets that hold their connections: a third silent, a third amid the headers, a third amid the body.

    The latter two send a byte a second, evenly spread.
    """

    BEGINNINGS = {
        "silent": b"",
        "header": f"POST {PREDICT} HTTP/1.1\r\nhost: slow\r\nx-slow: ".encode(),
        "body": f"POST {PREDICT} HTTP/1.1\r\nhost: slow\r\ncontent-length: 1000\r\n\r\n".encode(),
    }

    def __init__(self, port: int, number: int) -> None:
        self.closed: list[Slow] = []
        self._port = port
        self._number = number
        self._open: dict[int, _Opened] = {}
        self._poll = select.epoll()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._dribble)

    def __enter__(self) -> SlowSockets:
        for i in range(self._number):
            kind = list(self.BEGINNINGS)[i % 3]
            slow = socket.create_connection(("127.0.0.1", self._port), timeout=20)
            slow.sendall(self.BEGINNINGS[kind])
            slow.setblocking(False)
            self._poll.register(slow, select.EPOLLIN)
            self._open[slow.fileno()] = _Opened(slow, kind, time.monotonic(), bytearray())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for opened in self._open.values():
            opened.socket.close()
        self._poll.close()

    def _dribble(self) -> None:
        while not self._stop.is_set():
            numbers = list(self._open)
            for first in range(0, self._number, 10):
                for number in numbers[first : first + 10]:
                    self._send(number)
                for number, _ in self._poll.poll(0):
                    self._receive(number)
                self._stop.wait(10 / self._number)

    def _send(self, number: int) -> None:
        opened = self._open.get(number)
        if opened is not None and opened.kind != "silent":
            with contextlib.suppress(OSError):
                opened.socket.send(b" ")

    def _receive(self, number: int) -> None:
        opened = self._open[number]
        try:
            data = opened.socket.recv(4096)
        except OSError:
            data = b""
        opened.reply.extend(data)
        if not data:
            del self._open[number]
            self._poll.unregister(number)
            opened.socket.close()
            self.closed.append(Slow(opened.kind, _status(opened.reply), time.monotonic() - opened.at))


def _status(reply: bytes | bytearray) -> int:
    return int(reply.split()[1]) if reply.startswith(b"HTTP/1.") else 0


def exchange(port: int, pieces: Iterable[bytes], seconds: float = 20.0) -> tuple[int, float]:
    """Send pieces until something comes back: the status (0 where the connection is closed without one), and seconds."""
    rest, pending, reply = iter(pieces), b"", b""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setblocking(False)
        while b"\r\n\r\n" not in reply:
            pending = pending or next(rest, b"")
            left = started + seconds - time.perf_counter()
            readable, writable, _ = select.select([sock], [sock] if pending else [], [], max(left, 0))
            assert readable or writable, f"neither a reply nor a close within {seconds} s"
            try:
                if readable:
                    data = sock.recv(65536)
                    if not data:
                        break
                    reply += data
                else:
                    pending = pending[sock.send(pending[:65536]) :]
            except ConnectionError:
                pending, rest = b"", iter(())
                if readable:
                    break
        return _status(reply), time.perf_counter() - started


def rss_of(pid: int) -> int:
    """The bytes that a process holds in memory now."""
    return _memory(pid, "VmRSS")


def peak_of(pid: int) -> int:
    """The most bytes that a process held since `forget_peak`."""
    return _memory(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Begin the peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def workers_of(pid: int) -> set[int]:
    """The child processes that run."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found.add(int(stat.parent.name))
    return found
