"""What is framed as a table comes to the reader, and what is not does not."""

import contextlib
import io
import random
import struct

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.entrypoints.scoring.framing import is_arrow_stream, is_parquet_file
from headrace.entrypoints.scoring.parquet_reader import ParquetReader
from headrace.kernel.errors import InvalidInput

FRAMES = [
    pl.DataFrame({"a": [1.0, None], "b": ["x", "y"]}),
    pl.DataFrame({"a": pl.Series([], dtype=pl.Int64)}),
    pl.DataFrame({"c": pl.Series(["u", "v", "u"] * 500, dtype=pl.Categorical), "n": range(1500)}),
    pl.DataFrame({f"x{i}": [True, False] for i in range(300)}),
]


def written(frame, how):
    content = io.BytesIO()
    getattr(frame, how)(content)
    return content.getvalue()


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_what_is_a_table_passes(frame, compression):
    content = io.BytesIO()
    frame.write_ipc_stream(content, compression=compression)
    assert is_arrow_stream(content.getvalue())
    assert is_arrow_stream(content.getvalue().removesuffix(b"\xff\xff\xff\xff\0\0\0\0"))
    assert is_parquet_file(written(frame, "write_parquet"))


def test_messages_without_a_continuation_mark_pass():
    """As Arrow before 0.15 wrote them."""
    content = written(FRAMES[0], "write_ipc_stream")
    at, old = 0, b""
    while content[at : at + 4] == b"\xff\xff\xff\xff" and content[at + 4 : at + 8] != b"\0\0\0\0":
        (length,) = struct.unpack_from("<i", content, at + 4)
        following = content.find(b"\xff\xff\xff\xff", at + 8 + length)
        old += content[at + 4 : following]
        at = following
    assert is_arrow_stream(old + b"\0\0\0\0")


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\xff\x10\0\0\0"]))
@settings(max_examples=500, deadline=None)
def test_other_bytes_do_not(content, begins):
    assert not is_arrow_stream(begins + content)
    assert not is_parquet_file(b"PAR1" + content + b"\xff\xff\xff\x7fPAR1")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_stream_that_was_cut_or_whose_sizes_were_altered_raises_nothing(data):
    content = bytearray(written(FRAMES[0], "write_ipc_stream"))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)):
        content[at] = data.draw(st.integers(0, 255))
    assert is_arrow_stream(bytes(content[: data.draw(st.integers(0, len(content)))])) in (True, False)


def test_a_size_that_is_not_there_is_refused():
    content = written(FRAMES[0], "write_ipc_stream")
    assert not is_arrow_stream(content[:4] + struct.pack("<i", 1 << 30) + content[8:])
    assert not is_arrow_stream(content[: len(content) // 2])
    assert not is_arrow_stream(content[4:8])


def test_a_file_that_ends_its_reader_refuses_one_body_and_no_more():
    """Damage that makes the library ask for 2 EiB, which aborts its process; and damage that makes it panic."""
    reader = ParquetReader()
    whole = written(FRAMES[0], "write_parquet")
    assert pl.read_ipc_stream(io.BytesIO(reader.read(whole))).equals(FRAMES[0])
    rng = random.Random(5)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            content[rng.randrange(4, len(content) - 8)] = rng.randrange(256)
        try:
            reader.read(bytes(content))
        except InvalidInput:
            refused += 1
    assert refused > 20
    reader._process.kill()
    with contextlib.suppress(InvalidInput):
        reader.read(whole)
    assert pl.read_ipc_stream(io.BytesIO(reader.read(whole))).equals(FRAMES[0])
    reader.close()
