"""Two hundred jobs of mixed size at once: all are right, none starves, and live answers stay quick."""

import http.client
import json
import statistics
import time
from datetime import timedelta

import polars as pl
import pytest
from tests.conftest import call, eventually, start
from tests.faults.load import ALONE, PREDICT, ROW

from headrace.batch.job import UNDER_WAY
from headrace.kernel.clock import utc_now

pytestmark = [*ALONE, pytest.mark.timeout(900)]
SIZES = {"small": (160, 5), "medium": (36, 20_000), "large": (4, 2_000_000)}
"""How many jobs, and of how many rows each."""
RATE, SECONDS = 200, 8


def p99(port):
    """The 99th percentile of the latency of requests that come at a steady rate, in seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body, taken = json.dumps(ROW).encode(), []
    due = time.perf_counter()
    for _ in range(RATE * SECONDS):
        due += 1 / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        connection.request("POST", PREDICT, body, {"content-type": "application/json"})
        with connection.getresponse() as response:
            assert response.status == 200
            response.read()
        taken.append(time.perf_counter() - began)
    connection.close()
    return statistics.quantiles(taken, n=100)[98]


def test_two_hundred_jobs_of_mixed_size(registered, tmp_path):
    for name, (_, rows) in SIZES.items():
        frame = pl.DataFrame({"minutes": [float(i % 60) for i in range(rows)], "carrier": ["UA"] * rows})
        frame.write_csv(tmp_path / f"{name}.csv")
    allowed = {"HEADRACE_JOB_FOLDERS": str(tmp_path), "HEADRACE_JOBS_EACH": "1000"}
    place = ("--workspace", registered.places.url)
    with (
        start(*place, "serve", "--port", "0") as server,
        start(*place, "console", "--port", "0", env=allowed) as console,
    ):
        port = int(server["url"].rpartition(":")[2])
        process, begun = registered._start_worker(), utc_now()
        p99(port)
        alone = p99(port)
        asked = {}
        for name, (count, rows) in reversed(SIZES.items()):
            for number in range(count):
                out = tmp_path / f"{name}-{number}.csv"
                words = {
                    "model": "late",
                    "source": str(tmp_path / f"{name}.csv"),
                    "destination": str(out),
                    "capture": False,
                }
                status, job = call("POST", f"{console['url']}/api/jobs", words)
                assert status == 200
                asked[job["id"]] = (name, out, rows)
        assert len(asked) == 200
        try:
            eventually(lambda: any(job.status == "done" for job in registered.jobs(limit=200)), 60)
            beside = min(p99(port), p99(port))
            assert any(job.status in UNDER_WAY for job in registered.jobs(limit=200)), "it was measured beside them"
            eventually(lambda: all(job.status not in UNDER_WAY for job in registered.jobs(limit=200)), 600)
        finally:
            process.terminate()
            process.wait(60)
    ended = {name: [] for name in SIZES}
    results = {}
    for job in registered.jobs(limit=200):
        name, out, rows = asked[job.id]
        assert (job.error, job.counts.scored, job.counts.rejected) == (None, rows, 0)
        results.setdefault(name, out.read_bytes())
        assert out.read_bytes() == results[name]
        ended[name].append(job.ended)
    print(f"p99 alone {1000 * alone:.2f} ms, beside 200 jobs {1000 * beside:.2f} ms")
    assert max(ended["small"]) - begun < timedelta(seconds=120), "none starves"
    assert beside <= 2 * alone
