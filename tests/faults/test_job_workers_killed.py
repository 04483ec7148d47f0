"""Workers and servers are killed while jobs of all kinds are under way: every result is that of an undisturbed one."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from tests.conftest import call, eventually, start
from tests.faults.load import SOAK, workers_of
from tests.journeys.test_batch import WRITERS
from tests.journeys.test_batch_over_http import ask, begin

from headrace.batch.job import UNDER_WAY

KILLS, COUNT = (250, 200_000) if SOAK else (6, 60_000)
ROWS = pl.DataFrame(
    {
        "flight": [f"{'flight':.<30}{i}" for i in range(COUNT)],
        "minutes": [None if i % 11 == 0 else i % 90 + 0.5 for i in range(COUNT)],
        "carrier": [("UA", "AA", "B6", "explode")[i % 3 if i % 30_011 else 3] for i in range(COUNT)],
    }
)
pytestmark = [pytest.mark.servers, pytest.mark.timeout(7200 if SOAK else 600)]


def worker(ws):
    command = [sys.executable, "-m", "headrace", "--workspace", ws.places.url, "worker"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(process, which):
    """Kill a worker, the process beside it that works at jobs, or both; gives how many were."""
    beside = workers_of(process.pid)
    victims = {"worker": [process.pid], "jobs": [*beside], "both": [process.pid, *beside]}[which]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(victims)


def test_workers_are_killed_and_every_result_is_the_same(registered, tmp_path):
    chance, count = random.Random(6), 0
    calm = {}
    for source in WRITERS:
        WRITERS[source](ROWS, tmp_path / f"rows.{source}")
        for result in ("csv", "parquet", "jsonl"):
            out = tmp_path / f"calm-{source}.{result}"
            assert registered.score("late", tmp_path / f"rows.{source}", out, keep="flight").error is None
            calm[source, result] = out.read_bytes()
    waiting, turn = {}, 0
    process = worker(registered)
    try:
        while count < KILLS:
            for source, result in calm:
                out = tmp_path / f"{turn}-{source}.{result}"
                asked = {"keep": "flight", "chunk": 1, "threads": 1, "wait": False}
                waiting[out] = registered.score("late", tmp_path / f"rows.{source}", out, **asked).id
            turn += 1
            while any(registered.job(job).status in UNDER_WAY for job in waiting.values()):
                time.sleep(chance.uniform(0.5, 4.0))  # the moment of a kill is chance
                if count < KILLS:
                    count += killed(process, chance.choice(["worker", "jobs", "both"]))
                if process.poll() is not None:
                    process = worker(registered)
            for out, job in waiting.items():
                source, result = out.name.partition("-")[2].rsplit(".", 1)
                assert registered.job(job).error is None, out.name
                assert out.read_bytes() == calm[source, result], out.name
            waiting.clear()
    finally:
        process.terminate()
        process.wait(60)
    assert not list(tmp_path.glob(".*.draft"))
    assert not registered.verify_audit().problems


def test_a_server_that_is_killed_loses_nothing_that_it_took(registered):
    content = ROWS.head(5_000).write_csv().encode()
    half = len(content) // 2
    kind = {"content_type": "application/offset+octet-stream"}
    with start("--workspace", registered.places.url, "console", "--port", "0") as console:
        _, headers, body = begin(console["url"], "rows.csv", len(content))
        place, source = headers["location"], json.loads(body)["source"]
        assert ask("PATCH", console["url"] + place, content[:half], upload_offset=0, **kind)[0] == 204
        console["process"].kill()
    with start("--workspace", registered.places.url, "console", "--port", "0") as console:
        url = console["url"]
        offset = int(ask("HEAD", url + place)[1]["upload-offset"])
        assert offset == half
        assert ask("PATCH", url + place, content[half:], upload_offset=half, **kind)[0] == 204
        status, job = call("POST", f"{url}/api/jobs", {"model": "late", "source": source})
        assert status == 200
        console["process"].kill()
    process = worker(registered)
    try:
        eventually(lambda: registered.job(job["id"]).status == "done", 60)
    finally:
        process.terminate()
        process.wait(60)
    with start("--workspace", registered.places.url, "console", "--port", "0") as console:
        _, _, body = ask("GET", f"{console['url']}/api/jobs/{job['id']}/result")
        assert pl.read_csv(body).height == 5_000 - sum(ROWS.head(5_000)["carrier"] == "explode")
