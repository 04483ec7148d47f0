"""Jobs are killed again and again, meet a full disk, and lose their source: the result is the same to the byte, or
there is none and it is said why."""

import random
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from tests.faults import scoring
from tests.faults.load import SOAK
from tests.journeys.test_batch import WRITERS

from headrace.batch import parts, reading
from headrace.kernel.errors import StorageUnavailable

ROOT = Path(__file__).parents[2]
KILLS = 500 if SOAK else 8
ROWS = pl.DataFrame(
    {
        "flight": [f"F{i}" for i in range(12_000)],
        "minutes": [None if i % 11 == 0 else i % 90 + 0.5 for i in range(12_000)],
        "carrier": [("UA", "AA", "B6", "explode")[i % 3 if i % 1009 else 3] for i in range(12_000)],
    }
)
pytestmark = pytest.mark.timeout(3600 if SOAK else 600)


def command(ws, source, destination):
    return [sys.executable, scoring.__file__, ws.places.url, str(source), str(destination)]


def test_a_job_that_is_killed_gives_the_same_bytes(registered, tmp_path):
    chance = random.Random(20)
    pairs = [(source, result) for source in WRITERS for result in ("csv", "parquet", "jsonl")]
    killed, turns = 0, 0
    expected = {}
    while killed < KILLS:
        source, result = pairs[turns % len(pairs)]
        path = tmp_path / f"rows.{source}"
        if not path.exists():
            WRITERS[source](ROWS, path)
        if (source, result) not in expected:
            calm = tmp_path / f"calm-{source}.{result}"
            began = time.monotonic()
            assert subprocess.run(command(registered, path, calm), check=False).returncode == 0
            expected[source, result] = calm.read_bytes(), time.monotonic() - began
        content, seconds = expected[source, result]
        destination = tmp_path / f"{turns}.{result}"
        while not destination.exists():
            process = subprocess.Popen(command(registered, path, destination), stdout=subprocess.DEVNULL)
            try:
                process.wait(timeout=chance.uniform(0.3 * seconds, 1.1 * seconds))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
        assert subprocess.run(command(registered, path, destination), check=False).returncode == 0
        assert destination.read_bytes() == content, (source, result)
        rejects = destination.with_name(f"{destination.name}.rejects.csv")
        assert pl.read_csv(rejects).height == sum(ROWS["carrier"] == "explode")
        assert not list(tmp_path.glob(".*.draft"))
        turns += 1
    assert {job.status for job in registered.jobs(limit=1000)} == {"done"}
    assert not registered.verify_audit().problems


@pytest.fixture
def small(monkeypatch):
    for module, name in (
        (scoring.planning, "BLOCK"),
        (scoring.planning, "TABLE_BLOCK"),
        (scoring.writing, "ROW_GROUP"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(scoring.running, "TOLD_SECONDS", 0.0)
    scoring.small_blocks()


def scored(ws, tmp_path, result="csv", **more):
    ROWS.write_csv(tmp_path / "rows.csv")
    return ws.score("late", tmp_path / "rows.csv", tmp_path / f"a.{result}", chunk=1, threads=1, **more)


def test_a_full_disk_ends_the_job_and_what_was_scored_is_kept(registered, tmp_path, small, monkeypatch):
    put, left = parts.Parts.put, [5]

    def full(self, *given):
        if not left[0]:
            raise StorageUnavailable("No space left on device.", todo="Free some.")
        left[0] -= 1
        put(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "put", full)
        job = scored(registered, tmp_path)
    assert (job.status, job.error["kind"], job.chunks_done) == ("failed", "storage_unavailable", 5)
    assert not (tmp_path / "a.csv").exists()
    seen = []
    again = registered.score(
        "late", tmp_path / "rows.csv", tmp_path / "a.csv", chunk=1, threads=1, progress=lambda j, *_: seen.append(j)
    )
    assert (again.id, again.status) == (job.id, "done")
    assert seen[0].chunks_done == 5, "the same command goes on where the job stood"


@pytest.mark.parametrize("gone", [True, False])
def test_a_source_that_vanishes_or_changes_ends_the_job(registered, tmp_path, small, gone):
    spoilt = []

    def spoil(job, what, _share):
        if what == "scoring" and job.chunks_done >= 3 and not spoilt:
            spoilt.append(job)
            if gone:
                (tmp_path / "rows.csv").rename(tmp_path / "elsewhere.csv")
            else:
                ROWS[:100].write_csv(tmp_path / "rows.csv")

    job = scored(registered, tmp_path, progress=spoil)
    assert (job.status, job.error["kind"]) == ("failed", "conflict")
    assert ("gone" if gone else "changed") in job.error["error"]
    assert not (tmp_path / "a.csv").exists()
    if gone:
        (tmp_path / "elsewhere.csv").rename(tmp_path / "rows.csv")
        done = registered.work_at(registered.retry_job(job.id).id)
        assert (done.status, done.counts.read) == ("done", ROWS.height)


def test_a_destination_that_appears_meanwhile_is_not_overwritten(registered, tmp_path, small):
    def appear(_job, what, _share):
        if what == "writing":
            (tmp_path / "a.csv").write_text("mine")

    job = scored(registered, tmp_path, progress=appear)
    assert (job.status, job.error["kind"]) == ("failed", "conflict")
    assert (tmp_path / "a.csv").read_text() == "mine"
    (tmp_path / "a.csv").unlink()
    assert registered.work_at(registered.retry_job(job.id).id).status == "done"


@pytest.mark.embedded
@pytest.mark.parametrize(("result", "files"), [("csv", "answers"), ("parquet", "*.answers")])
def test_a_part_that_was_damaged_is_found(registered, tmp_path, small, result, files):
    def appear(_job, what, _share):
        if what == "writing":
            (tmp_path / f"a.{result}").write_text("mine")

    def again():
        return registered.work_at(registered.retry_job(job.id).id)

    job = scored(registered, tmp_path, result, progress=appear)
    assert job.error["kind"] == "conflict"
    (tmp_path / f"a.{result}").unlink()
    part = sorted((registered.places.jobs / job.id / "parts").glob(files))[-1]
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    assert again().error["kind"] == "not_trusted"
    done = again()
    assert (done.status, done.counts.read) == ("done", ROWS.height), "the damaged part is scored again"


def test_a_fault_of_ours_is_no_reject(registered, tmp_path, small, monkeypatch):
    monkeypatch.setattr(reading, "columns_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scored(registered, tmp_path)
    (job,) = registered.jobs()
    assert (job.status, job.error["kind"]) == ("failed", "fault")


SLOW = """
import sys, shutil, time, types
from datetime import timedelta
import headrace
from headrace.batch import jobs, running, writing
from tests.faults import scoring
scoring.small_blocks()
jobs.LEASE, running.BEAT_SECONDS = timedelta(seconds=1.5), 0.2
def slowly(part, file, size):
    shutil.copyfileobj(part, file, size)
    file.flush()
    time.sleep(0.25)
writing.shutil = types.SimpleNamespace(copyfileobj=slowly)
print(headrace.open(sys.argv[1]).work_at(sys.argv[2]).status)
"""


def test_two_processes_never_write_one_result(registered, tmp_path, small):
    ROWS.write_csv(tmp_path / "rows.csv")
    asked = {"keep": "flight", "chunk": 1, "wait": False}
    job = registered.score("late", tmp_path / "rows.csv", tmp_path / "a.csv", **asked)
    command = [sys.executable, "-c", SLOW, registered.places.url, job.id]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["done", "done"]
    registered.score("late", tmp_path / "rows.csv", tmp_path / "b.csv", keep="flight")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
