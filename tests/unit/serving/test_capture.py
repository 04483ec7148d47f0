"""Captures reach the inbox; torn tails and dead processes lose nothing that was whole."""

import fcntl

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import eventually

from headrace.serving import capture as capturing
from headrace.serving.capture import Capture, Captured, read_segment
from headrace.serving.counters import Counters
from headrace.serving.segments import framed, ship_orphans


def captured(n: int) -> Captured:
    return Captured(
        id=f"r{n}",
        time=1.0,
        model="m",
        version=1,
        route="live",
        generation=1,
        latency=0.001,
        rows=1,
        features={"a": [n]},
        keys={},
        moments=[],
        predictions=[True],
        probabilities=[[0.2, 0.8]],
    )


def test_captures_reach_the_inbox_while_it_runs_and_when_it_stops(tmp_path):
    counters = Counters()
    capture = Capture(tmp_path / "spool", tmp_path / "inbox", counters)
    capture.start()
    for n in range(3):
        capture.add([captured(n)])
    eventually(lambda: list((tmp_path / "inbox").glob("*.seg")))
    capture.add([captured(3)])
    capture.stop()
    found = [r.id for path in sorted((tmp_path / "inbox").glob("*.seg")) for r in read_segment(path)]
    assert found == ["r0", "r1", "r2", "r3"]
    assert counters.captured == 4
    assert not list((tmp_path / "spool").iterdir())


def test_a_full_buffer_drops_and_counts(tmp_path, monkeypatch):
    counters = Counters()
    capture = Capture(tmp_path / "spool", tmp_path / "inbox", counters)
    record = len(framed(msgspec.msgpack.encode([captured(0)])))
    monkeypatch.setattr(capturing, "MOST_BYTES", 3 * record)
    assert [capture.add([captured(n)]) for n in range(5)] == [True] * 3 + [False] * 2
    assert counters.dropped_captures == 2


@given(st.integers(0, 400))
def test_a_torn_tail_is_ignored_and_the_whole_records_are_read(tmp_path_factory, cut):
    records = [framed(msgspec.msgpack.encode([captured(n)])) for n in range(4)]
    content = b"".join(records)
    path = tmp_path_factory.mktemp("segment") / "s.seg"
    path.write_bytes(content[: min(cut, len(content))])
    whole = sum(1 for k in range(1, 5) if len(b"".join(records[:k])) <= cut)
    assert [r.id for r in read_segment(path)] == [f"r{n}" for n in range(whole)]


def test_a_flipped_byte_ends_the_segment_there(tmp_path):
    content = bytearray(b"".join(framed(msgspec.msgpack.encode([captured(n)])) for n in range(3)))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "s.seg").write_bytes(content)
    assert [r.id for r in read_segment(tmp_path / "s.seg")] == ["r0"]


def test_orphans_are_shipped_and_living_ones_left(tmp_path):
    spool, inbox = tmp_path / "spool", tmp_path / "inbox"
    for name in ("dead", "alive"):
        (spool / name).mkdir(parents=True)
        (spool / name / "lock").touch()
        (spool / name / "0000000001.open").write_bytes(b"")
    with (spool / "alive" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ship_orphans(spool, inbox) == 1
    assert [p.name for p in inbox.iterdir()] == ["dead.0000000001.seg"]
    assert (spool / "alive").exists()


def test_what_cannot_be_encoded_is_dropped_alone_and_capture_goes_on(tmp_path):
    from msgspec.structs import replace

    counters = Counters()
    capture = Capture(tmp_path / "spool", tmp_path / "inbox", counters)
    capture.start()
    capture.add([captured(0)])
    assert not capture.add([replace(captured(1), keys={"k": [1 << 70]}), captured(2)])
    assert counters.dropped_captures == 1
    capture.stop()
    found = [r.id for path in sorted((tmp_path / "inbox").glob("*.seg")) for r in read_segment(path)]
    assert found == ["r0", "r2"]
    assert counters.captured == 2
