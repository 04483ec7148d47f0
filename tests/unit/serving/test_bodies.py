"""Bodies are read within limits: sizes, encodings, and what breaks off."""

import asyncio
import gzip
import zlib

import pytest

from headrace.kernel.errors import DeadlinePassed, InvalidInput, Overloaded, TooLarge, UnknownFormat
from headrace.serving.bodies import Reader
from headrace.serving.limits import Limits

LIMITS = Limits(body=1000, in_flight=1500, body_seconds=0.05)


def read(*parts, reader=None, **headers):
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False

    async def receive():
        return messages.pop(0) if messages else await asyncio.sleep(60)

    return asyncio.run((reader or Reader(LIMITS)).read(named, receive)).content


def test_one_part_and_several():
    assert read(b"abc", content_length=b"3") == b"abc"
    assert read(b"ab", b"", b"c") == b"abc"
    assert read(b"") == b""


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_bodies(pack):
    name = b"gzip" if pack is gzip.compress else b"deflate"
    assert read(pack(b"a" * 900), content_encoding=name) == b"a" * 900
    with pytest.raises(TooLarge):
        read(pack(b"a" * 1001), content_encoding=name)
    with pytest.raises(InvalidInput):
        read(pack(b"abcdefghij")[:-6], content_encoding=name)
    with pytest.raises(InvalidInput):
        read(b"abc", content_encoding=name)


def test_what_is_too_large_is_refused_before_it_is_read():
    with pytest.raises(TooLarge, match="1000 bytes"):
        read(b"", content_length=b"1001")
    with pytest.raises(TooLarge):
        read(b"a" * 600, b"a" * 600)


def test_unknown_encodings():
    assert read(b"abc", content_encoding=b"identity") == b"abc"
    for encoding in (b"br", b"gzip, gzip", b"zstd"):
        with pytest.raises(UnknownFormat):
            read(b"abc", content_encoding=encoding)


def test_a_body_that_does_not_come_in_time():
    async def main():
        async def receive():
            await asyncio.sleep(10)

        with pytest.raises(DeadlinePassed, match=r"within 0\.05 s"):
            await Reader(LIMITS).read({}, receive)

    asyncio.run(main())


def test_a_client_that_goes_away():
    async def main():
        async def receive():
            return {"type": "http.disconnect"}

        for headers in ({}, {b"content-length": b"3"}):
            with pytest.raises(InvalidInput, match="went away"):
                await Reader(LIMITS).read(headers, receive)

    asyncio.run(main())


def test_too_many_bytes_under_way():
    reader = Reader(LIMITS)

    async def slow(size, started, go):
        sent = [{"type": "http.request", "body": b"a" * size, "more_body": True}]

        async def receive():
            if sent:
                return sent.pop()
            started.set()
            await go.wait()
            return {"type": "http.request", "body": b"b", "more_body": True}

        return await reader.read({}, receive)

    async def main():
        started, go = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(slow(900, started, go))
        await started.wait()
        go_now = asyncio.Event()
        go_now.set()
        with pytest.raises(Overloaded):
            await slow(700, asyncio.Event(), go_now)
        go.set()
        with pytest.raises((TooLarge, DeadlinePassed, Overloaded)):
            await first
        assert reader._under_way == 0

    asyncio.run(main())


def test_a_gzip_body_may_have_several_members():
    parts = gzip.compress(b"1\n") + gzip.compress(b"2\n") + gzip.compress(b"")
    assert read(parts, content_encoding=b"gzip") == b"1\n2\n"
    with pytest.raises(TooLarge):
        read(gzip.compress(b"a" * 600) * 2, content_encoding=b"gzip")
    with pytest.raises(TooLarge):
        read(gzip.compress(b"") * 1001, content_encoding=b"gzip")
    with pytest.raises(InvalidInput):
        read(gzip.compress(b"1") + b"rest", content_encoding=b"gzip")
