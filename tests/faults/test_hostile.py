"""Hostile input: refused within a second, in little memory, and the next request is answered as if nothing had been."""

import gzip
import json
import random
import subprocess
import sys
import zlib

import polars as pl
import pytest
from tests.conftest import Threshold, call
from tests.faults.load import ALONE, PREDICT, ROW, exchange, forget_peak, peak_of, rss_of

import headrace

pytestmark = ALONE

MOST_GROWTH = 64 << 20
PIECE = 1 << 16
GOOD = json.dumps(ROW).encode()
CHUNK = b"%x\r\n%b\r\n" % (PIECE, b" " * PIECE)
MILLION = 1_000_000


def head(method="POST", path=PREDICT, *headers):
    names = ("host: test", "content-type: application/json", *headers)
    return "\r\n".join((f"{method} {path} HTTP/1.1", *names, "", "")).encode("latin-1")


def post(body, *headers):
    return [head("POST", PREDICT, f"content-length: {len(body)}", *headers), body]


def streamed(first, piece, total):
    yield first
    for _ in range(total // PIECE):
        yield piece


def rows(number, row):
    return b'{"rows":[' + b",".join([row] * number) + b"]}"


def bomb():
    """A gigabyte of zeros in a megabyte: one block, packed once and repeated."""
    zeros, packer, check = bytes(16 << 20), zlib.compressobj(9, zlib.DEFLATED, -15), 0
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(64):
        check = zlib.crc32(zeros, check)
    trailer = check.to_bytes(4, "little") + (1 << 30).to_bytes(4, "little")
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + block * 64 + packer.flush() + trailer


GZIP, GIGABYTE = "content-encoding: gzip", f"content-length: {1 << 30}"
HTTP = {
    "arrays 100,000 deep": lambda: post(b"[" * 100_000 + b"]" * 100_000),
    "objects 100,000 deep": lambda: post(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "an unknown field 100,000 deep": lambda: post(b'{"carrier":"UA","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a million keys": lambda: post(b"{" + b",".join(b'"k%d":1' % i for i in range(MILLION)) + b"}"),
    "NaN": lambda: post(b'{"minutes":NaN,"carrier":"UA"}'),
    "1e999": lambda: post(b'{"minutes":1e999,"carrier":"UA"}'),
    "a key twice": lambda: post(b'{"minutes":1.0,"minutes":2.0,"carrier":"UA"}'),
    "a key twice, of two types": lambda: post(b'{"carrier":"UA","carrier":3}'),
    "a gigabyte, announced": lambda: streamed(head("POST", PREDICT, GIGABYTE), b" " * PIECE, 1 << 30),
    "chunks without end": lambda: streamed(head("POST", PREDICT, "transfer-encoding: chunked"), CHUNK, 200 << 20),
    "a gzip bomb": lambda: post(bomb(), GZIP),
    "a gzip of a gzip": lambda: post(gzip.compress(gzip.compress(GOOD)), GZIP),
    "gzip, named twice": lambda: post(gzip.compress(gzip.compress(GOOD)), "content-encoding: gzip, gzip"),
    "a truncated gzip": lambda: post(gzip.compress(GOOD)[:-10], GZIP),
    "not a gzip": lambda: post(GOOD, GZIP),
    "brotli": lambda: post(GOOD, "content-encoding: br"),
    "10,001 rows": lambda: post(rows(10_001, GOOD)),
    "a million empty rows": lambda: post(rows(MILLION, b"{}")),
    "a million whole rows": lambda: post(rows(MILLION, b'{"carrier":"UA"}')),
    "a million unknown fields": lambda: post(rows(MILLION, b'{"a":1}')),
    "a row that is a text": lambda: post(rows(1, b'"' + b"x" * (1 << 20) + b'"')),
    "a header of 100 KB": lambda: post(GOOD, "x-long: " + "x" * 100_000),
    "10,000 headers": lambda: post(GOOD, *(f"x-{i}: {i}" for i in range(10_000))),
    "a path of 100 KB": lambda: [head("GET", "/" + "x" * 100_000)],
    "a body that is not UTF-8": lambda: post(b'{"minutes":1.0,"carrier":"\xff\xfe"}'),
    "a path that is not UTF-8": lambda: [head("GET", "/models/\xff\xfe/schema")],
    "a quoted path that is not UTF-8": lambda: [head("GET", "/models/%ff%fe/schema")],
    "a length below nothing": lambda: [head("POST", PREDICT, "content-length: -1"), GOOD],
    "two lengths": lambda: post(GOOD, "content-length: 3"),
    "a length and chunks": lambda: [*post(GOOD, "transfer-encoding: chunked")],
    **{
        f"{method} {path}": lambda method=method, path=path: [head(method, path)]
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")
        for path in (PREDICT,)
    },
    **{f"POST {path}": lambda path=path: [head("POST", path)] for path in ("/health", "/models", "/openapi.json")},
}
NOT_HTTP = {
    "noise": [random.Random(7).randbytes(100_000)],
    "noise in lines": [b"\r\n".join(random.Random(7).randbytes(50) for _ in range(1000))],
    "zeros": [bytes(100_000)],
    "letters without an end": [b"x" * 1_000_000],
    "the hello of TLS": [bytes.fromhex("16030100a5010000a10303") + bytes(160)],
    "the preface of HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server after some ordinary requests, and the memory that it then holds."""
    root = tmp_path_factory.mktemp("hostile") / "ws"
    ws = headrace.open(root)
    frame = pl.DataFrame({"minutes": [1.0, None, 40.0] * 50, "carrier": ["UA", "AA", "B6"] * 50})
    ws.register("late", Threshold(30.0), example=frame)
    ws.promote("late@1")
    ws.close()
    command = [sys.executable, "-m", "headrace", "--workspace", str(root), "serve", "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = {**json.loads(process.stdout.readline()), "pid": process.pid}
    for _ in range(200):
        answers(found)
    found["memory"] = found["peak"] = rss_of(process.pid)
    yield found
    process.terminate()
    process.wait(30)
    process.stdout.close()


def answers(server):
    status, reply = call("POST", server["url"] + PREDICT, ROW)
    assert status == 200 and reply["predictions"][0]["probabilities"]["true"] == 0.2


def survived(server, pieces):
    """Send, hold the server to time and memory, and give the status."""
    forget_peak(server["pid"])
    before = rss_of(server["pid"])
    status, seconds = exchange(server["port"], pieces)
    answers(server)
    peak = peak_of(server["pid"])
    server["peak"] = max(server["peak"], peak)
    assert seconds < 1.0
    assert peak - before <= MOST_GROWTH, f"{peak - before >> 20} MB more, with status {status}"
    return status


@pytest.mark.parametrize("name", HTTP)
def test_hostile_requests_are_refused(server, name):
    status = survived(server, HTTP[name]())
    assert 400 <= status < 500


def test_a_long_text_is_a_text(server):
    assert survived(server, post(b'{"minutes":1.0,"carrier":"' + b"x" * (1 << 20) + b'"}')) == 200


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_is_cut_off(server, name):
    status = survived(server, NOT_HTTP[name])
    assert status == 0 or 400 <= status < 500


def test_all_of_it_together_took_little_memory(server):
    answers(server)
    assert server["peak"] - server["memory"] <= MOST_GROWTH, f"{server['peak'] - server['memory'] >> 20} MB more"
